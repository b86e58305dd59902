"""Outlines along pixel edges as short lists of numbers, and the masks that they enclose.

A ring [x0, y0, d1, d2, ...] starts at a pixel corner and goes by turns d1 pixels along x, d2 along
y, d3 along x and so on; the last edge, along y, leads back to the start and is left out. A cell has
one ring per piece and one per hole; what an odd number of rings encloses belongs to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cellseg.formats.outlines import outline_masks
from cellseg.structures.cell_masks import CellMasks
from cellseg.structures.runs import Crop

Rings = list[list[int]]


def encode_masks(masks: CellMasks) -> Iterator[Rings]:
    """Write the outline of each mask as rings; none for an empty mask."""
    for pieces in outline_masks(masks):
        yield [_encode(ring) for piece in pieces for ring in (piece.exterior, *piece.holes)]


def encode_crop_rings(crop: Crop) -> Rings:
    """Write the outline of one mask as rings."""
    height, width = crop.mask.shape
    masks = CellMasks.from_crops([Crop(crop.mask, 0, 0)], height, width)
    rings = next(encode_masks(masks))
    return [[ring[0] + crop.x0, ring[1] + crop.y0, *ring[2:]] for ring in rings]


def decode_rings(rings: Sequence[Sequence[int]]) -> Crop:
    """Fill rings; the very same pixels that they were drawn around.

    Args:
        rings: Rings of one cell, at least one.

    Returns:
        Its mask inside its tight box.
    """
    corners = [_decode(ring) for ring in rings]
    together = np.concatenate(corners)
    x1, y1 = together.min(axis=0).tolist()
    x2, y2 = together.max(axis=0).tolist()
    crossings = np.zeros((y2 - y1, x2 - x1 + 1), dtype=bool)
    for ring in corners:
        ahead = np.roll(ring, -1, axis=0)
        for (x, one), (_, two) in zip(ring[1::2].tolist(), ahead[1::2].tolist(), strict=True):
            low, high = min(one, two) - y1, max(one, two) - y1
            crossings[low:high, x - x1] ^= True
    return Crop(np.logical_xor.accumulate(crossings, axis=1)[:, :-1], x1, y1)


def measure_rings(rings: Sequence[Sequence[int]]) -> tuple[tuple[int, int, int, int], int]:
    """Measure the tight box x1, y1, x2, y2 (exclusive) and the area of a cell, in pixels."""
    area, boxes = 0, []
    for ring in rings:
        corners = _decode(ring)
        x, y = corners.T
        area += int(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) // 2
        boxes.append((*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()))
    low, high = np.min(boxes, axis=0)[:2].tolist(), np.max(boxes, axis=0)[2:].tolist()
    return (low[0], low[1], high[0], high[1]), abs(area)


def _encode(ring: NDArray[np.int64]) -> list[int]:
    """Write one ring of corners (K, 2), whose edges turn at every corner."""
    if ring[0, 1] != ring[1, 1]:
        ring = np.roll(ring, -1, axis=0)
    steps = np.diff(ring, axis=0).sum(axis=1)
    return [*ring[0].tolist(), *steps.tolist()]


def _decode(ring: Sequence[int]) -> NDArray[np.int64]:
    """Return the corners (K, 2) of a ring."""
    values = np.asarray(ring, dtype=np.int64)
    steps = np.zeros((len(values) - 1, 2), dtype=np.int64)
    steps[0] = values[:2]
    steps[1::2, 0], steps[2::2, 1] = values[2::2], values[3::2]
    return np.cumsum(steps, axis=0)
