"""RoIAlign as weighted sums of pixels' feature vectors.

mmcv's CPU kernel walks the features channel by channel. Here each bin is a short list of pixels
with weights, the same for all channels, so that whole feature vectors are added up: the forward
pass sums pixels into bins, the backward pass bins into pixels, and both are `embedding_bag`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
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


class Grid(NamedTuple):
    """How RoIs are cut into bins, and bins into samples; the settings of mmcv's RoIAlign."""

    rows: int
    columns: int
    spatial_scale: float  # feature pixels per pixel of the input image
    sampling_ratio: int  # samples per bin along each axis; 0 for one per feature pixel
    is_aligned: bool


def roi_align(
    features: Tensor,
    rois: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """Sample RoIs as `mmcv.ops.roi_align` does with pool_mode="avg".

    Values and gradients differ from mmcv's by the rounding of sums only (about 1e-6 relative).

    Args:
        features: (B, C, h, w) float, in any memory format.
        rois: (n, 5) image index, x1, y1, x2, y2 in pixels of the input image; n may be 0.
        output_size: Bins along y and x.
        spatial_scale: Feature pixels per pixel of the input image.
        sampling_ratio: Samples per bin along each axis; 0 for one per feature pixel.
        aligned: Whether pixel centers lie at half coordinates; False for the older way.

    Returns:
        (n, C, *output_size) in the features' type.
    """
    rows, columns = output_size
    if not len(rois):
        return features.flatten()[:0].view(0, features.shape[1], rows, columns)
    grid = Grid(rows, columns, spatial_scale, sampling_ratio, aligned)
    exact = torch.promote_types(features.dtype, torch.float32)
    height, width = features.shape[2:]
    with torch.no_grad():
        parts = [_find_taps(p, grid, height, width) for p in _split(rois.to(exact), grid)]
    table = _ToTable.apply(features.to(exact))
    bins = torch.cat([_SumRows.apply(table, taps) for taps in parts])
    bins = bins.view(len(rois), rows, columns, -1).permute(0, 3, 1, 2)
    return bins.to(features.dtype, memory_format=torch.contiguous_format)


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
    starts = torch.searchsorted(groups, torch.arange(num_groups, device=groups.device))
    return embedding_bag(rows, table, starts, mode="sum", per_sample_weights=weights)


def _place_bins(rois: Tensor, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Find where RoIs start, how long a bin is, and how many samples it has; along y and x.

    In mmcv's order of operations, since rounding decides on the number of samples.

    Returns:
        Starts and lengths in feature pixels (n, 2), and samples (n, 2) int64.
    """
    shift = 0.5 if grid.is_aligned else 0.0
    starts = rois[:, [2, 1]] * grid.spatial_scale - shift
    lengths = rois[:, [4, 3]] * grid.spatial_scale - shift - starts
    if not grid.is_aligned:
        lengths = lengths.clamp(min=1)
    lengths = lengths / lengths.new_tensor([grid.rows, grid.columns])
    if grid.sampling_ratio > 0:
        return starts, lengths, torch.full_like(lengths, grid.sampling_ratio, dtype=torch.long)
    return starts, lengths, lengths.ceil().clamp(min=0).long()


def _split(rois: Tensor, grid: Grid) -> list[Tensor]:
    """Split RoIs, in order, into parts with a bounded number of taps."""
    taps = _place_bins(rois, grid)[2].prod(dim=1) * (4 * grid.rows * grid.columns)
    part = taps.cumsum(0).div(_MAX_TAPS, rounding_mode="floor")
    return list(rois.split(torch.unique_consecutive(part, return_counts=True)[1].tolist()))


def _find_taps(rois: Tensor, grid: Grid, height: int, width: int) -> Taps:
    """List the four pixels around each sample of each bin of each RoI."""
    starts, lengths, counts = _place_bins(rois, grid)
    samples = counts.prod(dim=1)
    bins_per_roi = grid.rows * grid.columns
    per_bin = samples.repeat_interleave(bins_per_roi)
    bins = torch.arange(len(per_bin), device=rois.device).repeat_interleave(per_bin)
    sample = torch.arange(len(bins), device=rois.device)
    sample = sample - (per_bin.cumsum(0) - per_bin)[bins]
    roi = bins // bins_per_roi
    count, length = counts[roi], lengths[roi]
    bins_yx = torch.stack((bins // grid.columns % grid.rows, bins % grid.columns), dim=1)
    sample_yx = torch.stack((sample // count[:, 1], sample % count[:, 1]), dim=1)
    places = starts[roi] + bins_yx * length + (sample_yx + 0.5) * length / count
    size = torch.tensor([height, width], device=rois.device)
    pixels_yx, weights_yx = _find_neighbours(places, size)
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
