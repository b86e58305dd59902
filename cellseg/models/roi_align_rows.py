"""RoIAlign on a CPU as weighted sums of pixels' feature vectors.

mmcv's CPU kernel walks the features channel by channel. Here each bin is a short list of pixels
with weights, the same for all channels, so that whole feature vectors are added up: the forward
pass sums pixels into bins, the backward pass bins into pixels, and both are `embedding_bag`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from mmcv.ops import RoIAlign
from torch import Tensor
from torch.nn.functional import embedding_bag

_MAX_TAPS = 4_000_000  # pixel-bin pairs at a time: some 100 MB of indices and weights


@dataclass(frozen=True)
class Taps:
    """Which pixels make up which bins; in order of bins.

    Attributes:
        pixels: (t,) rows of the (B * h * w, C) feature table.
        bins: (t,) bins, ascending.
        weights: (t,) float, the samples' bilinear weights divided by their number.
        num_bins: Bins in all, those without a pixel included.
    """

    pixels: Tensor
    bins: Tensor
    weights: Tensor
    num_bins: int


def roi_align_rows(features: Tensor, rois: Tensor, side: int, spatial_scale: float) -> Tensor:
    """Sample RoIs as `mmcv.ops.roi_align` does with sampling_ratio=0 and aligned=True.

    Values and gradients differ from mmcv's by the rounding of sums only (about 1e-6 relative).

    Args:
        features: (B, C, h, w) float on a CPU, in any memory format.
        rois: (n, 5) image index, x1, y1, x2, y2 in pixels of the input image; n may be 0.
        side: Bins along each axis.
        spatial_scale: Feature pixels per pixel of the input image.

    Returns:
        (n, C, side, side) in the features' type.
    """
    if not len(rois):
        return features.flatten()[:0].view(0, features.shape[1], side, side)
    height, width = features.shape[2:]
    with torch.no_grad():
        parts = [
            _find_taps(part, side, spatial_scale, height, width)
            for part in _split(rois.to(features.dtype), side, spatial_scale)
        ]
    table = _ToTable.apply(features)
    bins = torch.cat([_SumRows.apply(table, taps) for taps in parts])
    return bins.view(len(rois), side, side, -1).permute(0, 3, 1, 2).contiguous()


class RowRoIAlign(RoIAlign):
    """mmcv's RoIAlign, as sums of feature vectors where that is faster: in training, on a CPU.

    It has no parameters. On a GPU, without gradients and with other settings, it is mmcv's: most of
    the time saved lies in the backward pass, and thousands of RoIs in a test want many taps.
    """

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:  # noqa: A002  (the stock name)
        """Sample the features of each RoI.

        Args:
            input: (B, C, h, w) float features.
            rois: (n, 5) image index, x1, y1, x2, y2 in pixels of the input image; n may be 0.

        Returns:
            (n, C, side, side) in the features' type.
        """
        rows, columns = self.output_size
        settings = (self.sampling_ratio, self.pool_mode, self.aligned)
        is_trained = input.is_cpu and input.requires_grad
        if is_trained and rows == columns and settings == (0, "avg", True):
            return roi_align_rows(input, rois, rows, self.spatial_scale)
        return super().forward(input, rois)


class _ToTable(torch.autograd.Function):
    """(B, C, h, w) features as a (B * h * w, C) table, and the gradient in the features' order.

    A gradient left in the table's order would make the convolutions before it take the slower way
    on a CPU without AVX-512; see `ChannelsLastHook`.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.shape = features.shape
        ctx.is_plain = features.is_contiguous()
        return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        batch, channels, height, width = ctx.shape
        grad = grad.view(batch, height, width, channels).permute(0, 3, 1, 2)
        return grad.contiguous() if ctx.is_plain else grad


class _SumRows(torch.autograd.Function):
    """Weighted sums of rows of a table, differentiable with respect to the table."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, taps: Taps) -> Tensor:
        ctx.taps, ctx.num_rows = taps, len(table)
        return _sum_rows(table, taps.pixels, taps.bins, taps.weights, taps.num_bins)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        taps = ctx.taps
        order = torch.argsort(taps.pixels, stable=True)
        pixels, inverse = torch.unique_consecutive(taps.pixels[order], return_inverse=True)
        sums = _sum_rows(
            grad.contiguous(), taps.bins[order], inverse, taps.weights[order], len(pixels)
        )
        table_grad = grad.new_zeros(ctx.num_rows, grad.shape[1])
        return table_grad.index_copy_(0, pixels, sums), None


def _sum_rows(
    table: Tensor, rows: Tensor, groups: Tensor, weights: Tensor, num_groups: int
) -> Tensor:
    """Add up weighted rows of a table by group, which must ascend; (num_groups, C)."""
    starts = torch.searchsorted(groups, torch.arange(num_groups))
    return embedding_bag(rows, table, starts, mode="sum", per_sample_weights=weights)


def _place_bins(rois: Tensor, side: int, spatial_scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Find where RoIs start, how long a bin is, and how many samples it has; along y and x.

    In mmcv's order of operations, since rounding decides on the number of samples.

    Returns:
        Starts and lengths in feature pixels (n, 2), and samples (n, 2) int64.
    """
    starts, ends = rois[:, [2, 1]] * spatial_scale - 0.5, rois[:, [4, 3]] * spatial_scale - 0.5
    lengths = (ends - starts) / side
    return starts, lengths, lengths.ceil().clamp(min=0).long()


def _split(rois: Tensor, side: int, spatial_scale: float) -> list[Tensor]:
    """Split RoIs, in order, into parts with a bounded number of taps."""
    taps = _place_bins(rois, side, spatial_scale)[2].prod(dim=1) * (4 * side * side)
    part = taps.cumsum(0).div(_MAX_TAPS, rounding_mode="floor")
    return list(rois.split(torch.unique_consecutive(part, return_counts=True)[1].tolist()))


def _find_taps(rois: Tensor, side: int, spatial_scale: float, height: int, width: int) -> Taps:
    """List the four pixels around each sample of each bin of each RoI."""
    starts, lengths, grids = _place_bins(rois, side, spatial_scale)
    samples = grids.prod(dim=1)
    per_bin = samples.repeat_interleave(side * side)
    bins = torch.arange(len(per_bin)).repeat_interleave(per_bin)
    sample = torch.arange(len(bins)) - (per_bin.cumsum(0) - per_bin)[bins]
    roi = bins // (side * side)
    grid, length = grids[roi], lengths[roi]
    bins_yx = torch.stack((bins // side % side, bins % side), dim=1)
    sample_yx = torch.stack((sample // grid[:, 1], sample % grid[:, 1]), dim=1)
    places = starts[roi] + bins_yx * length + (sample_yx + 0.5) * length / grid
    pixels_yx, weights_yx = _find_neighbours(places, torch.tensor([height, width]))
    weights = weights_yx[:, 0, :, None] * weights_yx[:, 1, None, :] / samples[roi][:, None, None]
    first_row = rois[:, 0].long()[roi][:, None] * height
    pixels = (first_row + pixels_yx[:, 0])[:, :, None] * width + pixels_yx[:, 1, None, :]
    return Taps(pixels.flatten(), bins.repeat_interleave(4), weights.flatten(), len(per_bin))


def _find_neighbours(places: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Find the two pixels beside each sample along y and x, with weights for interpolation.

    Args:
        places: (s, 2) y, x in feature pixels.
        size: (2,) height and width of the features.

    Returns:
        Pixels and weights, (s, 2, 2) each: y and x, lower and upper. A sample more than a pixel
        off the map weighs nothing.
    """
    is_inside = ((places >= -1) & (places <= size)).all(dim=1)
    places = torch.minimum(places.clamp(min=0), size - 1)
    lower = places.long()
    upper = torch.minimum(lower + 1, size - 1)
    share = places - lower
    weights = torch.stack((1 - share, share), dim=2) * is_inside[:, None, None]
    return torch.stack((lower, upper), dim=2), weights
