"""RoIAlign (He et al., Mask R-CNN, https://arxiv.org/abs/1703.06870) as sums of feature vectors.

mmcv's CPU kernel goes through the features channel by channel. Here each bin is a short list of
pixels with weights, the same for all channels, so that whole feature vectors are added up: the
forward pass sums pixels into bins, the backward pass sums bins into pixels, and both are
`embedding_bag`.
A bin's weights are the product of those along y and x, which are few.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

from cellseg.ops import backend

_MAX_TAPS_FORWARD = 100_000  # pixel-bin pairs at a time; their bins stay in a processor's cache
_MAX_TAPS_BACKWARD = 4_000_000  # some 100 MB of indices and weights
_TAPS_PER_BIN = 4  # a guess, to tell few RoIs from many


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

    Values and gradients differ from mmcv's by the rounding of sums only (about 1e-6 relative). A
    RoI with a negative side gives zeros where ``aligned`` is set; mmcv raises an error there.

    Args:
        features: (B, C, h, w) of any floating type, in any memory format.
        rois: (n, 5) image index, x1, y1, x2, y2 in pixels of the input image; n may be 0.
        output_size: Bins along y and x.
        spatial_scale: Feature pixels per pixel of the input image.
        sampling_ratio: Samples per bin along each axis; 0 for one per feature pixel.
        aligned: Whether pixel centers lie at half coordinates; False for the older way.

    Returns:
        (n, C, *output_size) in the features' type. float16 and bfloat16 are computed in float32.
        Channels-last features without gradients give channels-last values.
    """
    grid = Grid(*output_size, spatial_scale, sampling_ratio, aligned)
    exact = torch.promote_types(features.dtype, torch.float32)
    wide, rois = features.to(exact), rois.to(exact)
    if backend.uses_torchvision(features):
        values = backend.roi_align(wide, rois, grid)
    else:
        values = _RoIAlign.apply(wide, rois, grid)
    return values.to(features.dtype)


class _RoIAlign(torch.autograd.Function):
    """RoIAlign, differentiable with respect to the features."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, rois: Tensor, grid: Grid) -> Tensor:
        ctx.save_for_backward(rois)
        ctx.grid, ctx.shape = grid, features.shape
        ctx.is_plain = features.is_contiguous()
        channels = features.shape[1]
        is_last = not ctx.is_plain and not ctx.needs_input_grad[0]
        out = torch.empty(
            (len(rois), channels, grid.rows, grid.columns),
            dtype=features.dtype,
            device=features.device,
            memory_format=torch.channels_last if is_last else torch.contiguous_format,
        )
        parts, used = _plan(rois, grid, features.shape, ctx.is_plain, _MAX_TAPS_FORWARD)
        table = _read_pixels(features, used)
        for part, taps in parts:
            bins = _sum_rows(table, taps.pixels, taps.starts, taps.weights)
            bins = bins.view(-1, grid.rows, grid.columns, channels)
            out[part] = bins.permute(0, 3, 1, 2)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (rois,) = ctx.saved_tensors
        batch, channels, height, width = ctx.shape
        parts, used = _plan(rois, ctx.grid, ctx.shape, ctx.is_plain, _MAX_TAPS_BACKWARD)
        num_rows = batch * height * width if used is None else len(used)
        table_grad = grad.new_zeros(num_rows, channels)
        for part, taps in parts:
            bins_grad = grad[part].permute(0, 2, 3, 1).contiguous().view(-1, channels)
            bins = _spell_out(taps.starts, len(taps.pixels))
            order = torch.argsort(taps.pixels, stable=True)
            pixels, counts = torch.unique_consecutive(taps.pixels[order], return_counts=True)
            starts = counts.cumsum(0) - counts
            sums = _sum_rows(bins_grad, bins[order], starts, taps.weights[order])
            table_grad.index_add_(0, pixels, sums)
        features_grad = _write_pixels(table_grad, used, ctx.shape)
        # In the features' order: otherwise the convolutions before would take their slower way on a
        # CPU without AVX-512; see `ChannelsLastHook`.
        return (features_grad.contiguous() if ctx.is_plain else features_grad), None, None


class _Taps(NamedTuple):
    """Which pixels make up which bins, in order of bins."""

    pixels: Tensor  # (t,) rows of the (B * h * w, C) feature table
    weights: Tensor  # (t,) float
    starts: Tensor  # (b,) first tap of each bin


class _Axis(NamedTuple):
    """The taps of n RoIs with b bins each along one axis: a run of pixels for each bin."""

    firsts: Tensor  # (n, b) first pixel of each bin
    counts: Tensor  # (n, b) pixels of each bin
    starts: Tensor  # (n, b) place of its first weight
    weights: Tensor  # flat


def _plan(
    rois: Tensor, grid: Grid, shape: tuple[int, ...], is_plain: bool, max_taps: int
) -> tuple[Iterable[tuple[slice, _Taps]], Tensor | None]:
    """List the taps in parts, and the pixels that the feature table is to hold; None for all.

    To turn contiguous features into a table of all pixels costs more than a few RoIs do, which
    touch few pixels. The taps then name places in the shorter table.
    """
    batch, _, height, width = shape
    parts = _list_taps(rois, grid, shape, max_taps)
    num_pixels = batch * height * width
    if not is_plain or len(rois) * grid.rows * grid.columns * _TAPS_PER_BIN > num_pixels:
        return parts, None
    listed = list(parts)
    is_used = torch.zeros(num_pixels, dtype=torch.bool, device=rois.device)
    for _, taps in listed:
        is_used[taps.pixels] = True
    places = is_used.cumsum(0) - 1
    listed = [(part, taps._replace(pixels=places[taps.pixels])) for part, taps in listed]
    return listed, is_used.nonzero()[:, 0]


def _read_pixels(features: Tensor, used: Tensor | None) -> Tensor:
    """Return the feature vectors (pixels, C) of all pixels, or of some in ascending order."""
    if used is None:
        return features.permute(0, 2, 3, 1).contiguous().view(-1, features.shape[1])
    images = zip(features.flatten(2), _split_images(used, features.shape), strict=True)
    return torch.cat([image[:, pixels] for image, pixels in images], dim=1).t().contiguous()


def _write_pixels(table: Tensor, used: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """Undo `_read_pixels`, with zeros elsewhere."""
    batch, channels, height, width = shape
    if used is None:
        return table.view(batch, height, width, channels).permute(0, 3, 1, 2)
    features = table.new_zeros(batch, channels, height * width)
    pixels = _split_images(used, shape)
    parts = table.split([len(image_pixels) for image_pixels in pixels])
    for image, image_pixels, part in zip(features, pixels, parts, strict=True):
        image[:, image_pixels] = part.t()
    return features.view(shape)


def _split_images(pixels: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
    """Split ascending pixels of a batch by image, and number them within their image."""
    size = shape[2] * shape[3]
    bounds = torch.arange(shape[0] + 1, device=pixels.device) * size
    ends = torch.searchsorted(pixels, bounds).tolist()
    return [pixels[begin:end] - i * size for i, (begin, end) in enumerate(pairwise(ends))]


def _sum_rows(table: Tensor, rows: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """Add up weighted rows of a table by group; (groups, C)."""
    return embedding_bag(rows, table, starts, mode="sum", per_sample_weights=weights)


def _spell_out(starts: Tensor, total: int) -> Tensor:
    """Number the group of each of ``total`` members, given where groups start."""
    ends = torch.cat([starts[1:], starts.new_tensor([total])])
    inds = torch.arange(len(starts), device=starts.device)
    return inds.repeat_interleave(ends - starts, output_size=total)


def _list_taps(
    rois: Tensor, grid: Grid, shape: tuple[int, ...], max_taps: int
) -> Iterator[tuple[slice, _Taps]]:
    """Yield RoIs, in order, in parts of a bounded number of taps; one with more stands alone."""
    if not len(rois):
        return
    height, width = shape[2:]
    rows = _list_axis_taps(rois[:, 2], rois[:, 4], grid.rows, height, grid)
    columns = _list_axis_taps(rois[:, 1], rois[:, 3], grid.columns, width, grid)
    num_taps = rows.counts.sum(dim=1) * columns.counts.sum(dim=1)
    part_of = num_taps.cumsum(0).div(max_taps, rounding_mode="floor")
    sizes = torch.unique_consecutive(part_of, return_counts=True)[1].tolist()
    begin = 0
    for size in sizes:
        part = slice(begin, begin + size)
        first_rows = rois[part, 0].long() * height
        yield part, _combine(rows, columns, part, first_rows, width)
        begin += size


def _list_axis_taps(starts: Tensor, ends: Tensor, bins: int, size: int, grid: Grid) -> _Axis:
    """List which pixels along an axis make up each bin of each RoI.

    In mmcv's order of operations, since rounding decides on the number of samples.
    """
    shift = 0.5 if grid.is_aligned else 0.0
    starts = starts * grid.spatial_scale - shift
    lengths = ends * grid.spatial_scale - shift - starts
    lengths = (lengths if grid.is_aligned else lengths.clamp(min=1)) / bins
    samples = lengths.ceil().clamp(min=0).long()
    if grid.sampling_ratio > 0:
        samples = torch.full_like(samples, grid.sampling_ratio)
    roi, sample = _expand(samples.repeat_interleave(bins))
    bin_inds, roi = roi, roi // bins
    length, number = lengths[roi], samples[roi]
    places = starts[roi] + (bin_inds % bins) * length + (sample + 0.5) * length / number
    lower, upper, upper_share, is_inside = _find_neighbors(places, size)
    shares = is_inside / number
    num_bins = len(samples) * bins
    firsts = torch.full((num_bins,), size, device=roi.device)
    firsts.scatter_reduce_(0, bin_inds, lower, "amin")
    lasts = torch.full((num_bins,), -1, device=roi.device)
    lasts.scatter_reduce_(0, bin_inds, upper, "amax")
    counts = (lasts - firsts + 1).clamp(min=0)
    offsets = counts.cumsum(0) - counts
    weights = places.new_zeros(int(counts.sum()))
    shifts = (offsets - firsts)[bin_inds]
    weights.index_add_(0, lower + shifts, (1 - upper_share) * shares)
    weights.index_add_(0, upper + shifts, upper_share * shares)
    by_roi = (len(samples), bins)
    return _Axis(firsts.view(by_roi), counts.view(by_roi), offsets.view(by_roi), weights)


def _find_neighbors(places: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Find the two pixels beside each sample, the upper one's share, and whether it counts.

    A sample more than a pixel off the map weighs nothing.
    """
    is_inside = (places >= -1) & (places <= size)
    places = places.clamp(min=0, max=size - 1)
    lower = places.long()
    return lower, (lower + 1).clamp(max=size - 1), places - lower, is_inside


def _combine(rows: _Axis, columns: _Axis, part: slice, first_rows: Tensor, width: int) -> _Taps:
    """Multiply the taps along both axes of a part of the RoIs."""
    shape = (*rows.counts[part].shape, columns.counts.shape[1])  # (k, rows, columns)

    def spread(row_values: Tensor, column_values: Tensor) -> tuple[Tensor, Tensor]:
        pair = row_values[part, :, None], column_values[part, None, :]
        return pair[0].expand(shape).flatten(), pair[1].expand(shape).flatten()

    num_rows, num_columns = spread(rows.counts, columns.counts)
    first_y, first_x = spread(rows.firsts, columns.firsts)
    start_y, start_x = spread(rows.starts, columns.starts)
    counts = num_rows * num_columns
    bins, tap = _expand(counts)
    tap_y = torch.div(tap, num_columns[bins], rounding_mode="floor")
    tap_x = tap - tap_y * num_columns[bins]
    first_row = first_rows[:, None, None].expand(shape).flatten()
    corners = (first_row + first_y) * width + first_x
    pixels = corners[bins] + tap_y * width + tap_x
    weights = rows.weights[start_y[bins] + tap_y] * columns.weights[start_x[bins] + tap_x]
    return _Taps(pixels, weights, counts.cumsum(0) - counts)


def _expand(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Number the group of each member of groups of some sizes, and the members of each group."""
    starts = counts.cumsum(0) - counts
    groups = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    return groups, torch.arange(len(groups), device=counts.device) - starts[groups]
