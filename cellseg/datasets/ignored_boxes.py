"""Cut regions to ignore into pieces that fill their boxes, for the detector compares boxes only."""

from __future__ import annotations

import heapq
import itertools

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_LEAST_FILL = 0.95
_LEAST_SIDE_PX = 16
_CELL_SIDE_PX, _CELL_FILL = 64, 0.5  # a region like a cell, as annotators mark doubtful ones
_MOST_PIECES = 256  # of a region

Piece = tuple[NDArray[np.bool_], int, int]
"""A mask, and the row and column of its first pixel."""


def cut_into_boxes(label_map: NDArray[np.int32]) -> NDArray[np.int32]:
    """Number the pieces of regions so that each one fills most of its box.

    Anchors inside the box of a region to ignore are not trained on. The frame around a reviewed
    part has the box of the whole image, with which nothing at all would be learned.

    Args:
        label_map: (H, W) label map of regions.

    Returns:
        (H, W) int32. The same pixels in pieces 1, 2, ..., each of which fills 0.95 of its box or is
        at most 16 px long. Regions like a cell stay whole; the largest pieces of others are cut
        first, until there are 256.
    """
    pieces = np.zeros_like(label_map)
    count = 0
    boxes = ndimage.find_objects(label_map) if label_map.size else []
    for value, box in enumerate(boxes, start=1):
        if box is not None:
            whole = label_map[box] == value, box[0].start, box[1].start
            for region, top, left in _cut_region(whole):
                count += 1
                view = pieces[top : top + region.shape[0], left : left + region.shape[1]]
                view[region] = count
    return pieces


def _cut_region(whole: Piece) -> list[Piece]:
    """Cut a region as `cut_into_boxes` says."""
    region = whole[0]
    if max(region.shape) <= _CELL_SIDE_PX and region.mean() >= _CELL_FILL:
        return [whole]
    done: list[Piece] = []
    order = itertools.count()  # so that masks are never compared
    waiting = [(-region.size, next(order), whole)]
    while waiting:
        region, top, left = heapq.heappop(waiting)[2]
        is_small = max(region.shape) <= _LEAST_SIDE_PX
        is_full = len(done) + len(waiting) + 1 >= _MOST_PIECES
        if is_small or is_full or region.mean() >= _LEAST_FILL:
            done.append((region, top, left))
            continue
        axis, place = _find_cut(region)
        first, second = np.split(region, [place], axis=axis)
        moved = (top + place, left) if axis == 0 else (top, left + place)
        for part in (_tighten(first, top, left), _tighten(second, *moved)):
            if part[0].size:
                heapq.heappush(waiting, (-part[0].size, next(order), part))
    return done


def _tighten(region: NDArray[np.bool_], top: int, left: int) -> Piece:
    """Reduce a mask to the box of its pixels."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not len(rows):
        return region[:0, :0], top, left
    tight = region[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return tight, top + int(rows[0]), left + int(columns[0])


def _find_cut(region: NDArray[np.bool_]) -> tuple[int, int]:
    """Find the cut after which both parts are purest, as a decision tree would: axis and place.

    Args:
        region: (H, W) mask with H or W above 1.
    """
    best = (np.inf, 0, 1)
    for axis in (0, 1):
        length, across = region.shape[axis], region.shape[1 - axis]
        if length < 2:
            continue
        filled = np.cumsum(region.sum(axis=1 - axis))
        pixels = np.arange(1, length) * across
        before, after = filled[:-1], filled[-1] - filled[:-1]
        mixed = before * (1 - before / pixels) + after * (1 - after / (length * across - pixels))
        place = int(mixed.argmin())
        best = min(best, (float(mixed[place]), axis, place + 1))
    return best[1], best[2]
