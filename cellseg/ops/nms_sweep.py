"""NMS of many boxes on a CPU without comparing all pairs of them.

Two boxes can only reach an IoU where their centers are close in proportion to their size, so that a
sweep over horizontal strips finds the few pairs to compare. Where boxes are few, or most of them
overlap, the best ones are compared with all others instead: they drop most of them.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_FEW = 100  # boxes that are compared all with all
_ROWS = 16  # boxes that are compared with all others at a time
_CROWD = 0.25  # share of a place that a box of a crowd covers, on average
_PAIRS_PER_BOX = 200  # a sweep that lists more is too expensive
_CHUNK = 1 << 13  # pairs that are compared at a time; they fit into a processor's cache
_SLACK = 1e-5  # outweighs the rounding of a float32 IoU
_MIN_AREA = 1e-30  # below it, float32 rounds areas so coarsely that every pair must be compared

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def find_kept(boxes: Floats, iou_threshold: float, offset: int) -> Flags:
    """Return which boxes NMS keeps.

    Args:
        boxes: (N, 4) float32 x1, y1, x2, y2, the best first; N may be 0.
        iou_threshold: A box is dropped where its IoU with a kept one is above this.
        offset: 0, or 1 where the pixels at x2 and y2 belong to the box.

    Returns:
        (N,) bool.
    """
    rule = _Rule.of(iou_threshold, offset)
    with np.errstate(all="ignore"):
        table = _Table.of(boxes, rule)
        if len(boxes) <= _FEW or rule.threshold < 0:  # then even boxes far apart drop one another
            return _settle_in_blocks(table, rule)
        if table.sides.min() > 0 and np.isfinite(table.areas.max()):
            return _settle(table, rule)
        is_real = (table.sides > 0).all(axis=0) & np.isfinite(table.areas)
        is_kept = ~is_real  # boxes without an area and those with a NaN drop none
        is_kept[is_real] = _settle(table.take(np.flatnonzero(is_real)), rule)
        return is_kept


class _Rule(NamedTuple):
    """The threshold, and how near the centers of two boxes must be to lie above it."""

    threshold: np.float32
    offset: np.float32
    near: float  # distance of the centers along x or y, in mean sizes, at most
    ratio: float  # of their sizes along x or y, at most

    @classmethod
    def of(cls, iou_threshold: float, offset: int) -> "_Rule":
        share = min(max(iou_threshold * (1 - _SLACK), 0.0), 1.0)
        near = (1 - share) / (1 + share) + _SLACK
        return cls(np.float32(iou_threshold), np.float32(offset), near, 1 / max(share, 1e-9))


class _Table(NamedTuple):
    """Boxes by rank. Of two boxes, the smaller ends bound what they have in common."""

    ends: Floats  # (4, N) x2, y2, -x1, -y1
    sides: Floats  # (2, N) widths and heights
    areas: Floats  # (N,)

    @classmethod
    def of(cls, boxes: Floats, rule: _Rule) -> "_Table":
        corners = np.ascontiguousarray(boxes.T)
        ends = np.concatenate([corners[2:], -corners[:2]])
        sides = ends[:2] + ends[2:] + rule.offset
        return cls(ends, sides, sides[0] * sides[1])

    @property
    def is_a_crowd(self) -> bool:
        """Whether the boxes lie so close that the best ones drop most of them."""
        x2, y2, x1, y1 = self.ends.max(axis=1).tolist()
        return float(self.areas.mean()) > _CROWD * (x2 + x1) * (y2 + y1)

    def take(self, inds: Ints | slice) -> "_Table":
        return _Table(self.ends[:, inds], self.sides[:, inds], self.areas[inds])


def _settle(table: _Table, rule: _Rule, block: int = _ROWS) -> Flags:
    """Return which boxes to keep of those with an area."""
    num_boxes = len(table.areas)
    if num_boxes <= _FEW or table.areas.min() < _MIN_AREA:
        return _settle_in_blocks(table, rule)
    if not table.is_a_crowd:
        sweep = _Sweep.of(table, rule)
        if sweep.num_pairs <= _PAIRS_PER_BOX * num_boxes:
            return _settle_pairs(num_boxes, *sweep.find_overlaps(table, rule))
    is_kept, left = _settle_block(table, rule, block)
    is_kept[left] = _settle(table.take(left), rule, 2 * block)
    return is_kept


def _settle_in_blocks(table: _Table, rule: _Rule) -> Flags:
    """Return which boxes to keep, without any short cut."""
    is_kept = np.zeros(len(table.areas), dtype=bool)
    places: Ints = np.arange(len(table.areas))
    while len(places):
        stays, left = _settle_block(table, rule, _FEW)
        is_kept[places] = stays
        places, table = places[left], table.take(left)
    return is_kept


def _settle_block(table: _Table, rule: _Rule, size: int) -> tuple[Flags, Ints]:
    """Settle which of the first boxes to keep; also return which of the others these do not drop.

    Returns:
        (N,) bool, whether a box is one of the first ones and kept; and the indices of the others.
    """
    first, rest = table.take(slice(size)), table.take(slice(size, None))
    is_kept = np.zeros(len(table.areas), dtype=bool)
    overlaps = np.triu(_compare(first, first, rule), 1)
    is_kept[:size] = _settle_pairs(len(first.areas), *np.nonzero(overlaps))
    is_left = np.ones(len(rest.areas), dtype=bool)
    kept = np.flatnonzero(is_kept)
    for begin in range(0, len(kept) if len(is_left) else 0, _ROWS):
        is_left &= ~_compare(table.take(kept[begin : begin + _ROWS]), rest, rule).any(axis=0)
    return is_kept, np.flatnonzero(is_left) + size


def _settle_pairs(num_boxes: int, better: Ints, worse: Ints) -> Flags:
    """Return which boxes to keep, given all pairs that overlap."""
    is_kept = np.ones(num_boxes, dtype=bool)
    while len(better):
        is_sure = np.ones(num_boxes, dtype=bool)
        is_sure[worse] = False
        is_kept[worse[is_sure[better]]] = False
        is_left = is_kept[better]
        is_left &= is_kept[worse]
        better, worse = better[is_left], worse[is_left]
    return is_kept


def _compare(first: _Table, second: _Table, rule: _Rule) -> Flags:
    """Return which of N boxes overlap which of M by more than the threshold; (N, M)."""
    ends, others = first.ends[:, :, None], second.ends
    widths = np.minimum(ends[0], others[0]) + np.minimum(ends[2], others[2])
    heights = np.minimum(ends[1], others[1]) + np.minimum(ends[3], others[3])
    return _is_over(widths, heights, first.areas[:, None] + second.areas, rule)


def _is_over(widths: Floats, heights: Floats, areas: Floats, rule: _Rule) -> Flags:
    """Return which IoUs are above the threshold, in mmcv's rounding; overwrites its arguments.

    Args:
        widths: What two boxes have in common along x, without the offset; below 0 if nothing.
        heights: The same along y.
        areas: Sums of the two boxes' areas.
        rule: The threshold.
    """
    if rule.offset:
        widths += rule.offset
        heights += rule.offset
    np.maximum(widths, np.float32(0), out=widths)
    np.maximum(heights, np.float32(0), out=heights)
    widths *= heights
    areas -= widths
    widths /= areas
    return widths > rule.threshold


class _Sweep(NamedTuple):
    """Boxes sorted into horizontal strips, within a strip by x, and each box's partners there.

    A pair belongs to the box that comes first. The partners of a box are the boxes after it in its
    own strip, and runs of boxes in the strips below, whose centers are near enough.
    """

    order: Ints  # (N,) ranks in the order of the sweep
    owners: Ints  # (R,) rank of the box that each run of partners belongs to
    begins: Ints  # (R,) first place of the run
    counts: Ints  # (R,) its length

    @classmethod
    def of(cls, table: _Table, rule: _Rule) -> "_Sweep":
        """Sort boxes and find their runs of partners."""
        centers = (table.ends[:2].astype(np.float64) - table.ends[2:]) / 2
        centers -= centers.min(axis=1, keepdims=True)
        (x, y), (extent, y_extent) = centers, centers.max(axis=1).tolist()
        largest = table.sides.max(axis=1, keepdims=True)  # that a partner may have
        reaches = np.minimum(table.sides * np.float32(rule.ratio), largest)
        reaches += table.sides
        x_reach, y_reach = reaches * np.float32(rule.near / 2)
        height = max(float(y_reach.mean()), float(y_reach.max()) / 64, y_extent / 2**20)
        strips = np.floor(y / height)
        width = extent * 1.25 + 1  # so that no window reaches into the next strip
        slack = (y_extent / height + 2) * width * 1e-15  # outweighs the rounding of keys
        keys = strips * width + x
        order = keys.argsort()
        keys, strips, x, x_reach = keys[order], strips[order], x[order], x_reach[order]
        num_below = (np.floor((y + y_reach)[order] / height) - strips).astype(np.int64)
        lows = np.maximum(x - x_reach, -0.1 * extent) - slack
        highs = np.minimum(x + x_reach, 1.1 * extent) + slack
        places = np.arange(len(order))
        lookers = places.repeat(num_below)  # boxes that look into a strip below
        steps = np.arange(1, len(lookers) + 1) - (num_below.cumsum() - num_below)[lookers]
        starts = (strips[lookers] + steps) * width
        own_ends = keys.searchsorted(highs + strips * width, "right")
        begins = keys.searchsorted(lows[lookers] + starts, "left")
        ends = keys.searchsorted(highs[lookers] + starts, "right")
        owners = order[np.concatenate([places, lookers])]
        begins = np.concatenate([places + 1, begins])
        return cls(order, owners, begins, np.concatenate([own_ends, ends]) - begins)

    @property
    def num_pairs(self) -> int:
        return int(self.counts.sum())

    def find_overlaps(self, table: _Table, rule: _Rule) -> tuple[Ints, Ints]:
        """Find all pairs above the threshold: ranks of the better and of the worse boxes."""
        ends, last = np.ascontiguousarray(table.ends.T), self.counts.cumsum()
        shifts = self.begins - (last - self.counts)
        cuts = np.arange(_CHUNK, int(last[-1]), _CHUNK)
        cuts = np.unique([0, *last.searchsorted(cuts), len(last)])
        found = []
        for begin, end in pairwise(cuts.tolist()):
            counts = self.counts[begin:end]
            first = self.owners[begin:end].repeat(counts)
            second = np.arange(last[begin] - counts[0], last[end - 1])
            second += shifts[begin:end].repeat(counts)
            second = self.order.take(second)
            common = np.minimum(ends.take(first, axis=0), ends.take(second, axis=0))  # (P, 4)
            areas = table.areas.take(first) + table.areas.take(second)
            widths, heights = common[:, 0] + common[:, 2], common[:, 1] + common[:, 3]
            is_over = _is_over(widths, heights, areas, rule)
            found.append((first[is_over], second[is_over]))
        first, second = (np.concatenate(side) for side in zip(*found, strict=True))
        return np.minimum(first, second), np.maximum(first, second)
