"""RoIAlign of single cells of label maps, reading only the pixels under each RoI.

Averaging bilinear samples on a regular grid is separable: for every RoI the target is
`rows @ crop @ columns.T`, where `crop` is the cell's pixels under the RoI and `rows` and `columns`
say how much each pixel row or column adds to each output row or column. The rules are those of
RoIAlign (He et al., Mask R-CNN, https://arxiv.org/abs/1703.06870) as mmcv computes it with
`aligned=True` and `sampling_ratio=0`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ROIS_AT_ONCE = 64  # bounds the memory of the weights; a crop is held for one RoI at a time


class AxisWeights(NamedTuple):
    """How the pixels along one axis add up to the bins of each RoI.

    `weights[i]` is (bins, n_i) float, `firsts[i]` the image coordinate of its first pixel.
    """

    weights: list[NDArray[np.floating]]
    firsts: list[int]


def sample_rois(
    layers: NDArray[np.int32],
    layer_inds: NDArray[np.integer],
    label_ids: NDArray[np.integer],
    rois: NDArray[np.floating],
    out_shape: tuple[int, int],
) -> NDArray[np.floating]:
    """Resample one cell under each RoI.

    Args:
        layers: (L, H, W) label maps.
        layer_inds: (N,) the layer of each RoI's cell.
        label_ids: (N,) the id of each RoI's cell in its layer.
        rois: (N, 4) float32 or float64 x1, y1, x2, y2 in pixels; may reach outside the image. A
            RoI without a positive width and height gives zeros.
        out_shape: Height and width of each result.

    Returns:
        (N, *out_shape) mean of the cell's bilinear samples in each bin, from 0 to 1, in the dtype
        of the RoIs. N may be 0.

    Raises:
        ValueError: If a RoI is not finite.
    """
    if not np.isfinite(rois).all():
        raise ValueError("A RoI holds a coordinate that is not finite; look for a diverged loss.")
    sampled = np.zeros((len(rois), *out_shape), dtype=rois.dtype)
    half = rois.dtype.type(0.5)
    begins = rois[:, :2] - half  # (N, 2) as x, y
    bin_sizes = ((rois[:, 2:] - half) - begins) / np.array(out_shape[::-1], dtype=rois.dtype)
    grids = np.ceil(bin_sizes.astype(np.float32)).astype(np.int64)  # as C's ceilf: in float32
    solid = np.flatnonzero((grids > 0).all(axis=1))
    _, height, width = layers.shape
    for start in range(0, len(solid), ROIS_AT_ONCE):
        block = solid[start : start + ROIS_AT_ONCE]
        columns, rows = (
            _weigh_axis(
                begins[block, axis], bin_sizes[block, axis], grids[block, axis], num_bins, size
            )
            for axis, num_bins, size in ((0, out_shape[1], width), (1, out_shape[0], height))
        )
        for place, index in enumerate(block.tolist()):
            row_weights, column_weights = rows.weights[place], columns.weights[place]
            top, left = rows.firsts[place], columns.firsts[place]
            bottom, right = top + row_weights.shape[1], left + column_weights.shape[1]
            crop = layers[layer_inds[index], top:bottom, left:right] == label_ids[index]
            sampled[index] = row_weights @ crop.astype(rois.dtype) @ column_weights.T
    return sampled


def _weigh_axis(
    begins: NDArray[np.floating],
    bin_sizes: NDArray[np.floating],
    grids: NDArray[np.int64],
    num_bins: int,
    size: int,
) -> AxisWeights:
    """Weigh the pixels of one axis for each RoI.

    Positions are computed in the RoIs' own dtype and in RoIAlign's order of operations, so that a
    sample lands on the same side of the image's border.

    Args:
        begins: (N,) position of the RoI's near side, where 0 is the middle of the first pixel.
        bin_sizes: (N,) pixels a bin.
        grids: (N,) samples a bin, at least 1.
        num_bins: Output pixels along the axis.
        size: Image pixels along the axis.

    Returns:
        The weights of each RoI, over no more pixels than its samples touch.
    """
    dtype = begins.dtype.type
    num_samples = num_bins * grids
    heads = num_samples.cumsum() - num_samples
    owners = np.repeat(np.arange(len(begins)), num_samples)
    steps = np.arange(len(owners)) - heads[owners]
    bins, ticks = np.divmod(steps, grids[owners])
    sizes, in_bin = bin_sizes[owners], (ticks + dtype(0.5)).astype(dtype)
    positions = begins[owners] + bins.astype(dtype) * sizes
    positions += in_bin * sizes / grids[owners].astype(dtype)
    inside = (positions >= -1) & (positions <= size)
    clamped = np.clip(positions, 0, size - 1)
    lows = clamped.astype(np.int64)
    highs = np.minimum(lows + 1, size - 1)
    fractions = clamped - lows
    firsts = np.minimum.reduceat(lows, heads)
    spans = np.maximum.reduceat(highs, heads) - firsts + 1
    offsets = (num_bins * spans).cumsum() - num_bins * spans
    slots = offsets[owners] + bins * spans[owners] - firsts[owners]
    shares = inside / grids[owners]
    flat = np.bincount(
        np.concatenate((slots + lows, slots + highs)),
        np.concatenate(((1 - fractions) * shares, fractions * shares)),
        minlength=int((num_bins * spans).sum()),
    ).astype(dtype)
    weights: list[NDArray[np.floating]] = [
        part.reshape(num_bins, -1) for part in np.split(flat, offsets[1:])
    ]
    return AxisWeights(weights, firsts.tolist())
