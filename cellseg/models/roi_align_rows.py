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


def _samples_per_bin(rois: Tensor, side: int, spatial_scale: float) -> Tensor:
    """Count the samples along y and x in a bin of each RoI: (n, 2)."""
    # mmcv's order of operations: rounding decides on the number of samples, and on none at all
    starts, ends = rois[:, [2, 1]] * spatial_scale - 0.5, rois[:, [4, 3]] * spatial_scale - 0.5
    sizes = ends - starts
    return (sizes / side).ceil().clamp(min=0).long()


def _split(rois: Tensor, side: int, spatial_scale: float) -> list[Tensor]:
    """Split RoIs, in order, into parts with a bounded number of taps."""
    taps = _samples_per_bin(rois, side, spatial_scale).prod(dim=1) * (4 * side * side)
    part = taps.cumsum(0).div(_MAX_TAPS, rounding_mode="floor")
    return list(rois.split(torch.unique_consecutive(part, return_counts=True)[1].tolist()))


def _find_taps(rois: Tensor, side: int, spatial_scale: float, height: int, width: int) -> Taps:
    """List the four pixels around each sample of each bin of each RoI."""
    grid = _samples_per_bin(rois, side, spatial_scale)
    samples = grid.prod(dim=1)
    per_bin = samples.repeat_interleave(side * side)
    bins = torch.arange(len(per_bin)).repeat_interleave(per_bin)
    starts = per_bin.cumsum(0) - per_bin
    sample = torch.arange(len(bins)) - starts[bins]
    roi = bins.div(side * side, rounding_mode="floor")
    rows_of_bins = bins.div(side, rounding_mode="floor").remainder(side)
    columns_of_bins = bins.remainder(side)
    grid_y, grid_x = grid[roi].unbind(1)
    row_pixels, row_weights, row_inside = _find_neighbours(
        rois[:, 2],
        rois[:, 4],
        roi,
        rows_of_bins,
        sample // grid_x,
        grid_y,
        side,
        spatial_scale,
        height,
    )
    column_pixels, column_weights, column_inside = _find_neighbours(
        rois[:, 1],
        rois[:, 3],
        roi,
        columns_of_bins,
        sample % grid_x,
        grid_x,
        side,
        spatial_scale,
        width,
    )
    weights = row_weights[:, :, None] * column_weights[:, None, :]
    weights = weights / samples[roi][:, None, None] * (row_inside & column_inside)[:, None, None]
    image = rois[:, 0].long()[roi][:, None, None]
    pixels = (image * height + row_pixels[:, :, None]) * width + column_pixels[:, None, :]
    return Taps(pixels.flatten(), bins.repeat_interleave(4), weights.flatten(), len(per_bin))


def _find_neighbours(
    low: Tensor,
    high: Tensor,
    roi: Tensor,
    bins: Tensor,
    sample: Tensor,
    grid: Tensor,
    side: int,
    spatial_scale: float,
    length: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the two pixels beside each sample along one axis.

    Args:
        low: (n,) where each RoI starts, in pixels of the input image.
        high: (n,) where it ends.
        roi: (s,) the RoI of each sample.
        bins: (s,) its bin along the axis.
        sample: (s,) its number within the bin.
        grid: (s,) samples in the bin.
        side: Bins of a RoI.
        spatial_scale: Feature pixels per pixel of the input image.
        length: Feature pixels along the axis.

    Returns:
        Pixels (s, 2), weights (s, 2), and whether the sample lies on the map (s,).
    """
    starts = low * spatial_scale - 0.5
    steps = ((high * spatial_scale - 0.5) - starts) / side
    place = starts[roi] + bins * steps[roi] + (sample + 0.5) * steps[roi] / grid
    is_inside = (place >= -1) & (place <= length)
    place = place.clamp(0, length - 1)
    first = place.long()
    second = (first + 1).clamp(max=length - 1)
    share = place - first
    return torch.stack([first, second], 1), torch.stack([1 - share, share], 1), is_inside
