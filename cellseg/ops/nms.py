"""Non-maximum suppression (NMS) on a CPU by mmcv's rule, without comparing all pairs of boxes.

A kept box drops every box of a lower score whose IoU with it is above the threshold. Two boxes can
only reach that IoU where their centers are close in proportion to their size, so that a sweep over
horizontal strips finds the few pairs to compare. The IoU is computed as in mmcv, in float32.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellseg.ops import backend

_NUM_BEST = 64  # boxes that are compared with all others where all lie too close for a sweep
_PAIRS_PER_BOX = 200  # a sweep that lists more is too dear
_CHUNK = 1 << 16  # pairs that are compared at a time; they fit into a processor's cache
_SLACK = 1e-5  # outweighs the rounding of a float32 IoU
_MIN_AREA = 1e-30  # below it, float32 rounds areas so coarsely that every pair must be compared

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Find the boxes that no kept box of a higher score overlaps by more than a threshold.

    Boxes of equal scores are taken in the order in which they come. On a GPU torchvision's kernel
    is used where it can be; without it the boxes are compared on the CPU, by the same rule.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels, of any floating type; N may be 0.
        scores: (N,) float.
        iou_threshold: A box is dropped where its IoU with a kept one is above this.
        offset: 0, or 1 where the pixels at x2 and y2 belong to the box.

    Returns:
        (K,) int64 indices of the kept boxes, by falling score.
    """
    boxes, scores = boxes.detach().float(), scores.detach()
    if backend.uses_torchvision(boxes) and offset == 0:
        return backend.nms(boxes, scores.float(), iou_threshold)
    order = scores.sort(descending=True, stable=True)[1]
    keep = find_kept(boxes[order].cpu().numpy(), iou_threshold, offset)
    return order[torch.from_numpy(keep).to(order.device)]


def find_kept(boxes: Floats, iou_threshold: float, offset: int) -> Flags:
    """Return which of (N, 4) float32 boxes, the best first, NMS keeps; (N,) bool."""
    rule, table = _Rule.of(iou_threshold), _Table.of(boxes, offset)
    if rule.threshold < 0:  # even boxes that do not touch overlap by more
        return _settle_one_by_one(table, rule)
    is_alive = np.ones(len(boxes), dtype=bool)
    real = table.find_real()  # every other box is kept and drops none
    rest = table if real.all() else table.take(np.flatnonzero(real))
    is_alive[real] = _settle(rest, rule)
    return is_alive


class _Rule(NamedTuple):
    """The threshold, and what two boxes must have in common to lie above it."""

    threshold: np.float32
    share: np.float32  # of either box's height, which the other one covers at least
    near: float  # distance of the centers along x or y, in mean sizes, at most
    ratio: float  # of their sizes along x or y, at most

    @classmethod
    def of(cls, iou_threshold: float) -> "_Rule":
        share = min(max(iou_threshold * (1 - _SLACK), 0.0), 1.0)
        near = (1 - share) / (1 + share) + _SLACK
        return cls(np.float32(iou_threshold), np.float32(share), near, 1 / max(share, 1e-9))


class _Table(NamedTuple):
    """Boxes by rank, one (N,) float32 array a property."""

    x1: Floats
    y1: Floats
    x2: Floats
    y2: Floats
    widths: Floats
    heights: Floats
    areas: Floats
    offset: np.float32

    @classmethod
    def of(cls, boxes: Floats, offset: int) -> "_Table":
        x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)
        plus = np.float32(offset)
        with np.errstate(all="ignore"):
            widths, heights = x2 - x1 + plus, y2 - y1 + plus
            return cls(x1, y1, x2, y2, widths, heights, widths * heights, plus)

    def take(self, inds: Ints) -> "_Table":
        columns = (self.x1, self.y1, self.x2, self.y2, self.widths, self.heights, self.areas)
        x1, y1, x2, y2, widths, heights, areas = (column[inds] for column in columns)
        return _Table(x1, y1, x2, y2, widths, heights, areas, self.offset)

    def find_real(self) -> Flags:
        """Return which boxes have an area; those with a NaN or infinity do not."""
        return (self.widths > 0) & (self.heights > 0) & np.isfinite(self.areas)

    def find_overlaps(self, first: Ints, second: Ints, rule: _Rule) -> tuple[Ints, Ints]:
        """Leave those of (P,) pairs whose IoU is above the threshold, in mmcv's rounding."""
        zero, plus = np.float32(0), self.offset
        heights = np.minimum(self.y2[first], self.y2[second])
        heights -= np.maximum(self.y1[first], self.y1[second])
        heights += plus
        is_near = np.flatnonzero(heights >= self.heights[first] * rule.share)
        if rule.threshold < 0:  # pairs that do not touch count, too
            is_near = np.arange(len(first))
        first, second = first[is_near], second[is_near]
        widths = np.minimum(self.x2[first], self.x2[second])
        widths -= np.maximum(self.x1[first], self.x1[second])
        inter = np.maximum(widths + plus, zero) * np.maximum(heights[is_near], zero)
        with np.errstate(all="ignore"):
            iou = inter / (self.areas[first] + self.areas[second] - inter)
        is_over = iou > rule.threshold
        return first[is_over], second[is_over]


def _settle(table: _Table, rule: _Rule, num_best: int = _NUM_BEST) -> Flags:
    """Find the boxes to keep of those with an area."""
    num_boxes = len(table.x1)
    is_alive = np.ones(num_boxes, dtype=bool)
    if num_boxes < 2:
        return is_alive
    if table.areas.min() < _MIN_AREA:
        return _settle_one_by_one(table, rule)
    sweep = _Sweep.of(table, rule)
    if sweep.num_pairs <= _PAIRS_PER_BOX * num_boxes:
        _drop_worse(is_alive, *sweep.find_overlaps(table, rule))
        return is_alive
    _drop_one_by_one(is_alive, num_best, table, rule)  # they drop most where boxes lie so close
    tail = np.flatnonzero(is_alive[num_best:]) + num_best
    is_alive[tail] = _settle(table.take(tail), rule, 2 * num_best)
    return is_alive


def _drop_worse(is_alive: Flags, better: Ints, worse: Ints) -> None:
    """Clear the flags of boxes that kept ones overlap, given all pairs that overlap."""
    while len(better):
        is_sure = np.ones(len(is_alive), dtype=bool)
        is_sure[worse] = False
        is_alive[worse[is_sure[better]]] = False
        is_left = is_alive[better] & is_alive[worse]
        better, worse = better[is_left], worse[is_left]


def _settle_one_by_one(table: _Table, rule: _Rule) -> Flags:
    """Find the boxes to keep without any short cut."""
    is_alive = np.ones(len(table.x1), dtype=bool)
    _drop_one_by_one(is_alive, len(is_alive), table, rule)
    return is_alive


def _drop_one_by_one(is_alive: Flags, num_best: int, table: _Table, rule: _Rule) -> None:
    """Clear the flags of all boxes that the first ones, as far as they are kept, overlap."""
    for rank in range(min(num_best, len(is_alive))):
        if is_alive[rank]:
            rest = np.flatnonzero(is_alive[rank + 1 :]) + rank + 1
            _, worse = table.find_overlaps(np.full(len(rest), rank), rest, rule)
            is_alive[worse] = False


class _Sweep(NamedTuple):
    """Boxes sorted into horizontal strips, within a strip by x, and each box's partners there.

    A pair belongs to the box that comes first. The partners of a box are the boxes after it in its
    own strip, and runs of boxes in the strips below, whose centers are near enough.
    """

    order: Ints  # (N,) ranks in the order of the sweep
    owners: Ints  # (R,) place of the box that each run of partners belongs to
    begins: Ints  # (R,) first place of the run
    ends: Ints  # (R,) place after the last one

    @classmethod
    def of(cls, table: _Table, rule: _Rule) -> "_Sweep":
        x, x_reach = _place(table.x1, table.x2, table.widths, rule)
        y, y_reach = _place(table.y1, table.y2, table.heights, rule)
        height = max(y_reach.mean(), y_reach.max() / 64, float(np.ptp(y)) / 2**20)
        strips = np.floor(y / height)
        extent = float(x.max())
        width = extent * 1.25 + 1  # so that no window reaches into the next strip
        slack = (strips.max() + 2) * width * 1e-15  # outweighs the rounding of keys
        keys = strips * width + x
        order = keys.argsort()
        keys, strips, x, x_reach = keys[order], strips[order], x[order], x_reach[order]
        spans = (np.floor((y + y_reach)[order] / height) - strips).astype(np.int64) + 1
        owners = np.arange(len(order)).repeat(spans)
        firsts = spans.cumsum() - spans
        starts = (strips[owners] + (np.arange(len(owners)) - firsts[owners])) * width
        lows = np.maximum(x - x_reach, -0.1 * extent)[owners] + starts - slack
        highs = np.minimum(x + x_reach, 1.1 * extent)[owners] + starts + slack
        begins = np.searchsorted(keys, lows, "left")
        begins[firsts] = np.arange(1, len(order) + 1)
        ends = np.maximum(np.searchsorted(keys, highs, "right"), begins)
        return cls(order, owners, begins, ends)

    @property
    def num_pairs(self) -> int:
        return int((self.ends - self.begins).sum())

    def find_overlaps(self, table: _Table, rule: _Rule) -> tuple[Ints, Ints]:
        """Find all pairs above the threshold: ranks of the better and of the worse boxes."""
        counts = self.ends - self.begins
        table, ranks, last = table.take(self.order), self.order, counts.cumsum()
        cuts = np.arange(_CHUNK, int(last[-1]), _CHUNK)
        cuts = np.unique([0, *np.searchsorted(last, cuts), len(counts)])
        found = []
        for begin, end in pairwise(cuts.tolist()):
            chunk = slice(begin, end)
            first = self.owners[chunk].repeat(counts[chunk])
            shifts = self.begins[chunk] - (last[chunk] - counts[chunk])
            second = np.arange(len(first)) + (last[begin] - counts[begin])
            second += shifts.repeat(counts[chunk])
            found.append(table.find_overlaps(first, second, rule))
        first, second = (ranks[np.concatenate(side)] for side in zip(*found, strict=True))
        return np.minimum(first, second), np.maximum(first, second)


def _place(lows: Floats, highs: Floats, sizes: Floats, rule: _Rule) -> tuple[Doubles, Doubles]:
    """Return the centers along an axis from 0 on, and how far the partners' centers may be."""
    centers = (lows + highs.astype(np.float64)) / 2
    partners = np.minimum(sizes * rule.ratio, float(sizes.max()))
    return centers - centers.min(), (sizes + partners) * (rule.near / 2)
