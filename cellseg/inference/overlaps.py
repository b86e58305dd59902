"""Which boxes and masks of an image overlap, and by how many pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellseg.structures.cells import Cells
from cellseg.structures.runs import overlap_within, select_runs

_PAIR_BLOCK = 400_000  # candidate pairs compared at once, to bound memory
_COUNTED_BLOCK = 4_000  # pairs of masks compared together, likewise


class MaskOverlaps(NamedTuple):
    """Pairs of cells whose masks share pixels.

    `pairs` (P, 2) are indices, the first the smaller one; `intersections` (P,) the shared pixels;
    `iou` (P,) intersection over union; `iomin` (P,) intersection over the smaller of the two areas.
    """

    pairs: NDArray[np.int64]
    intersections: NDArray[np.int64]
    iou: NDArray[np.float64]
    iomin: NDArray[np.float64]


def find_box_pairs(boxes: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.int64]:
    """Find all pairs of boxes that overlap, by a sweep along x inside horizontal bands.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels, x2 and y2 exclusive.

    Returns:
        (P, 2) indices i < j of boxes that share a positive area, in ascending order; P may be 0.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    filled = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    if len(filled) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    x1, y1, x2, y2 = (boxes[filled] - boxes[filled].min(axis=0)[[0, 1, 0, 1]]).T
    band_height = max(float(np.median(y2 - y1)) * 2, 1.0)
    first_band, last_band = (
        (y1 // band_height).astype(np.int64),
        (y2 // band_height).astype(np.int64),
    )
    spans = last_band - first_band + 1
    owners = np.repeat(np.arange(len(filled)), spans)  # one entry a box and band
    bands = np.repeat(first_band, spans) + _ranges(spans)
    stride = x2.max() + 1  # bands lie one after another on a single axis
    keys = bands * stride + x1[owners]
    order = np.argsort(keys, kind="stable")
    owners, bands, keys = owners[order], bands[order], keys[order]
    stops = np.searchsorted(keys, bands * stride + x2[owners], side="left")
    followers = np.maximum(stops - np.arange(len(keys)) - 1, 0)
    found = []
    for block in _blocks(followers):
        lengths = followers[block]
        left = np.repeat(np.arange(block.start, block.stop), lengths)
        right = left + 1 + _ranges(lengths)
        one, two, band = owners[left], owners[right], bands[left]
        # A pair that shares several bands counts in the first of them only.
        hit = (np.minimum(y2[one], y2[two]) > np.maximum(y1[one], y1[two])) & (
            np.maximum(first_band[one], first_band[two]) == band
        )
        found.append(np.sort(filled[np.stack((one[hit], two[hit]), axis=1)], axis=1))
    pairs = np.concatenate(found)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def measure_overlaps(
    cells: Cells, pairs: NDArray[np.int64] | None = None, min_overlap: float = 0.0
) -> MaskOverlaps:
    """Measure exactly how far masks overlap.

    Args:
        cells: N cells of one image.
        pairs: (P, 2) candidates; all pairs when None.
        min_overlap: Pairs whose intersection over the smaller area cannot reach this are left out.

    Returns:
        The pairs that share at least one pixel, in ascending order.
    """
    _, areas = cells.measure()
    if pairs is None:
        found, counts = _count_shared(cells, np.arange(len(cells)))
    else:
        pairs = np.unique(np.sort(pairs, axis=1), axis=0)
        blocks = range(0, len(pairs), _COUNTED_BLOCK)
        parts = [_count_pairs(cells, pairs[first : first + _COUNTED_BLOCK]) for first in blocks]
        found = np.concatenate([pairs[:0], *(part for part, _ in parts)])
        counts = np.concatenate([np.zeros(0, dtype=np.int64), *(count for _, count in parts)])
    smaller = areas[found].min(axis=1) if len(found) else np.zeros(0, dtype=np.int64)
    kept = counts >= min_overlap * smaller
    found, counts, smaller = found[kept], counts[kept], smaller[kept]
    unions = areas[found].sum(axis=1) - counts
    return MaskOverlaps(found, counts, counts / unions, counts / smaller)


def _count_pairs(
    cells: Cells, pairs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the pixels that pairs of cells share; those of the pairs (P, 2) that share any."""
    found, counts = _count_shared(cells, np.unique(pairs))
    keys = np.array([len(cells), 1])
    wanted = np.isin(found @ keys, pairs @ keys)
    return found[wanted], counts[wanted]


def _count_shared(
    cells: Cells, used: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find all pairs among some cells that share pixels, ascending, and how many they share."""
    one, two, counts = overlap_within(select_runs(cells.runs, len(cells), used))
    return np.stack((used[one], used[two]), axis=1), counts


def intersect_boxes(
    boxes: NDArray[np.floating] | NDArray[np.integer], pairs: NDArray[np.int64]
) -> NDArray[np.floating]:
    """Intersect the boxes of each pair, (P, 4); empty where x2 <= x1 or y2 <= y1."""
    one, two = boxes[pairs[:, 0]], boxes[pairs[:, 1]]
    near = np.maximum(one[:, :2], two[:, :2])
    far = np.minimum(one[:, 2:], two[:, 2:])
    return np.concatenate((near, far), axis=1)


def _ranges(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count 0, 1, ... up to each length, one range after another."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - lengths, lengths)


def _blocks(lengths: NDArray[np.int64]) -> Iterator[slice]:
    """Cut indices into consecutive slices whose lengths sum up to about _PAIR_BLOCK each."""
    sums = np.cumsum(lengths)
    begin = 0
    while begin < len(lengths):
        done = sums[begin - 1] if begin else 0
        end = max(int(np.searchsorted(sums, done + _PAIR_BLOCK, side="right")), begin + 1)
        yield slice(begin, end)
        begin = end
