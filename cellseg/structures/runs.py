"""Masks as runs, and arithmetic on them: areas, boxes, overlaps, unions, crops, shifts.

A run is a half-open range of column-major pixel positions (x * height + y), as COCO counts them.
The cost grows with the number of runs (about one per column of a cell), not with image size or
with the number of mask pairs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.int64]


class Runs(NamedTuple):
    """Foreground runs of several masks, sorted by owner, then by start.

    `owners` (R,) is the index of the mask that a run belongs to, `starts` and `ends` (R,) are its
    first and one-past-last column-major positions. R may be 0. Runs of one mask do not overlap.
    """

    owners: IntArray
    starts: IntArray
    ends: IntArray


class Crop(NamedTuple):
    """One mask inside a box of its image: `mask` (h, w) bool, at image column x0 and row y0."""

    mask: NDArray[np.bool_]
    x0: int
    y0: int

    def window(self, x1: int, y1: int, x2: int, y2: int) -> NDArray[np.bool_]:
        """Draw the mask inside a box of the image, x2 and y2 exclusive: (y2 - y1, x2 - x1) bool."""
        drawn = np.zeros((y2 - y1, x2 - x1), dtype=bool)
        height, width = self.mask.shape
        left, top = max(self.x0, x1), max(self.y0, y1)
        right, bottom = min(self.x0 + width, x2), min(self.y0 + height, y2)
        if right > left and bottom > top:
            own = slice(top - self.y0, bottom - self.y0), slice(left - self.x0, right - self.x0)
            drawn[top - y1 : bottom - y1, left - x1 : right - x1] = self.mask[own]
        return drawn


def run_areas(runs: Runs, num_masks: int) -> IntArray:
    """Count the pixels of each mask.

    Args:
        runs: Runs of several masks.
        num_masks: How many masks there are, those without a run included.

    Returns:
        (num_masks,) areas in pixels.
    """
    lengths = (runs.ends - runs.starts).astype(np.float64)  # exact up to 2**53 pixels
    return np.bincount(runs.owners, weights=lengths, minlength=num_masks).astype(np.int64)


def measure_runs(runs: Runs, num_masks: int, height: int) -> tuple[IntArray, IntArray]:
    """Measure tight boxes (N, 4), x2 and y2 exclusive, and areas (N,); zeros for an empty mask."""
    boxes = np.zeros((num_masks, 4), dtype=np.int64)
    areas = np.zeros(num_masks, dtype=np.int64)
    if not len(runs.owners):
        return boxes, areas
    first_x, first_y = np.divmod(runs.starts, height)
    last_x, last_y = np.divmod(runs.ends - 1, height)
    wraps = last_x > first_x  # such a run meets the image's last and first row
    first_y[wraps], last_y[wraps] = 0, height - 1
    firsts = np.flatnonzero(np.diff(runs.owners, prepend=-1))
    present = runs.owners[firsts]
    boxes[present, 0] = np.minimum.reduceat(first_x, firsts)
    boxes[present, 1] = np.minimum.reduceat(first_y, firsts)
    boxes[present, 2] = np.maximum.reduceat(last_x, firsts) + 1
    boxes[present, 3] = np.maximum.reduceat(last_y, firsts) + 1
    areas[present] = np.add.reduceat(runs.ends - runs.starts, firsts)
    return boxes, areas


def select_runs(runs: Runs, num_masks: int, places: ArrayLike) -> Runs:
    """Take the runs of some masks.

    Args:
        runs: Runs of N masks.
        num_masks: N.
        places: (M,) indices of masks, in any order; one may come twice.

    Returns:
        The runs of the M masks, numbered in the order of places.
    """
    places = np.asarray(places, dtype=np.int64).reshape(-1)
    if np.array_equal(places, np.arange(num_masks)):
        return runs
    cuts = np.searchsorted(runs.owners, np.arange(num_masks + 1))
    owners, taken = expand_ranges(cuts[places], cuts[places + 1])
    return Runs(owners, runs.starts[taken], runs.ends[taken])


def concatenate_runs(parts: Sequence[Runs], counts: Sequence[int]) -> Runs:
    """Join the runs of several groups of masks of one image size.

    Args:
        parts: Runs of each group.
        counts: How many masks each group has.

    Returns:
        The runs of all masks, those of the first group first.
    """
    if not parts:
        return no_runs()
    offsets = np.cumsum(counts) - counts
    owners = [part.owners + offset for part, offset in zip(parts, offsets.tolist(), strict=True)]
    starts, ends = ([part[field] for part in parts] for field in (1, 2))
    return Runs(np.concatenate(owners), np.concatenate(starts), np.concatenate(ends))


def no_runs() -> Runs:
    """Return the runs of no mask, or of empty ones."""
    return Runs(*(np.zeros(0, dtype=np.int64) for _ in range(3)))


def join_touching(runs: Runs) -> Runs:
    """Join runs of one mask that touch, as those of neighboring full-height columns do."""
    touching = (runs.starts[1:] == runs.ends[:-1]) & (runs.owners[1:] == runs.owners[:-1])
    if not touching.any():
        return runs
    first = np.concatenate(([True], ~touching))
    last = np.concatenate((~touching, [True]))
    return Runs(runs.owners[first], runs.starts[first], runs.ends[last])


def shift_runs(
    runs: Runs, offset_xy: tuple[int, int], from_height: int, to_height: int, to_width: int
) -> Runs:
    """Move masks into another image, such as those of a tile into the whole.

    Args:
        runs: Runs of several masks.
        offset_xy: Columns and rows that the masks move right and down by, in pixels.
        from_height: Height of the image that the masks are of.
        to_height: Height of the other image; what reaches outside is cut off.
        to_width: Its width.

    Returns:
        The runs of the same masks in the other image; a mask wholly outside has none.
    """
    columns, tops = np.divmod(runs.starts, from_height)
    spans = (runs.ends - 1) // from_height - columns + 1
    lengths = runs.ends - runs.starts
    owners = runs.owners
    if (spans > 1).any():  # cut at the ends of the columns, which are elsewhere afterwards
        rows = np.repeat(np.arange(len(spans)), spans)
        nth = np.arange(len(rows)) - np.repeat(np.cumsum(spans) - spans, spans)
        stops = np.minimum(runs.ends[rows] - (columns[rows] + nth) * from_height, from_height)
        owners, columns = owners[rows], columns[rows] + nth
        tops = np.where(nth == 0, tops[rows], 0)
        lengths = stops - tops
    columns = columns + offset_xy[0]
    tops = tops + offset_xy[1]
    bottoms = (tops + lengths).clip(0, to_height)
    tops = tops.clip(0, to_height)
    inside = (columns >= 0) & (columns < to_width) & (bottoms > tops)
    base = columns[inside] * to_height
    return join_touching(Runs(owners[inside], base + tops[inside], base + bottoms[inside]))


def overlap_runs(first: Runs, second: Runs) -> tuple[IntArray, IntArray, IntArray]:
    """Find every pair of masks that share a pixel, and how many they share.

    Masks may overlap within either set. Two runs meet in exactly one of two ways: the second
    starts inside the first, or the first starts strictly inside the second. Each way is a search
    in sorted starts, so that only pairs that do meet are visited.

    Args:
        first: Runs of N masks.
        second: Runs of M masks of images of the same height.

    Returns:
        first_index (P,), second_index (P,) and shared pixels (P,), sorted by first_index, then by
        second_index. P may be 0.
    """
    if not len(first.owners) or not len(second.owners):
        return tuple(np.zeros(0, dtype=np.int64) for _ in range(3))  # type: ignore[return-value]
    one, two = _sort_by_start(first), _sort_by_start(second)
    one_a, two_a = expand_ranges(
        np.searchsorted(two.starts, one.starts, "left"),
        np.searchsorted(two.starts, one.ends, "left"),
    )
    two_b, one_b = expand_ranges(
        np.searchsorted(one.starts, two.starts, "right"),
        np.searchsorted(one.starts, two.ends, "left"),
    )
    i, j = np.concatenate((one_a, one_b)), np.concatenate((two_a, two_b))
    shared = np.minimum(one.ends[i], two.ends[j]) - np.maximum(one.starts[i], two.starts[j])
    return _sum_by_pair(one.owners[i], two.owners[j], shared)


def overlap_within(runs: Runs) -> tuple[IntArray, IntArray, IntArray]:
    """Find every pair of masks of one set that share a pixel, and how many they share.

    Args:
        runs: Runs of several masks.

    Returns:
        The smaller index (P,), the larger one (P,) and shared pixels (P,), sorted by the two
        indices. P may be 0.
    """
    if not len(runs.owners):
        return tuple(np.zeros(0, dtype=np.int64) for _ in range(3))  # type: ignore[return-value]
    ordered = _sort_by_start(runs)
    # Of two runs that meet, the later one starts before the earlier one ends.
    earlier, later = expand_ranges(
        np.arange(1, len(ordered.starts) + 1),
        np.searchsorted(ordered.starts, ordered.ends, "left"),
    )
    shared = np.minimum(ordered.ends[earlier], ordered.ends[later]) - ordered.starts[later]
    one, two = ordered.owners[earlier], ordered.owners[later]
    return _sum_by_pair(np.minimum(one, two), np.maximum(one, two), shared)


def union_runs(runs: Runs) -> Runs:
    """Join all masks into one.

    Args:
        runs: Runs of several masks, which may overlap.

    Returns:
        Runs of one mask with owner 0, disjoint and ascending; none when there was none.
    """
    if not len(runs.owners):
        return runs
    ordered = _sort_by_start(runs)
    reach = np.maximum.accumulate(ordered.ends)
    opens = np.concatenate(([True], ordered.starts[1:] > reach[:-1]))
    closes = np.concatenate((opens[1:], [True]))
    starts = ordered.starts[opens]
    return Runs(np.zeros(len(starts), dtype=np.int64), starts, reach[closes])


def resolve_overlaps(runs: Runs, scores: NDArray[np.floating], groups: IntArray) -> Runs:
    """Give each pixel to the best mask that claims it, within each group of masks.

    A label map holds one cell a pixel, and so do the measures that follow panoptic quality.
    Only masks that meet another of their group are compared pixel by pixel.

    Args:
        runs: Runs of N masks.
        scores: (N,) confidences; the higher one wins a pixel, then the earlier mask.
        groups: (N,) integer group (class) of each mask; masks of different groups may overlap.

    Returns:
        Runs of the same N masks without overlap inside a group. A hidden mask has none.
    """
    i, j, _ = overlap_within(runs)
    meets = groups[i] == groups[j]
    if not meets.any():
        return runs
    contested = np.zeros(len(scores), dtype=bool)
    contested[i[meets]] = contested[j[meets]] = True
    rank = np.empty(len(scores), dtype=np.int64)
    rank[np.lexsort((np.arange(len(scores)), -scores))] = np.arange(len(scores))
    inside = contested[runs.owners]
    owners, positions = list_pixels(Runs(*(part[inside] for part in runs)))
    order = np.lexsort((rank[owners], positions, groups[owners]))
    owners, positions = owners[order], positions[order]
    same = (np.diff(positions) == 0) & (np.diff(groups[owners]) == 0)
    first = np.concatenate(([True], ~same))
    won = _runs_of_pixels(owners[first], positions[first])
    merged = Runs(*(np.concatenate((a[~inside], b)) for a, b in zip(runs, won, strict=True)))
    order = np.lexsort((merged.starts, merged.owners))
    return Runs(*(part[order] for part in merged))


def paint_runs(
    runs: Runs, priority: NDArray[np.floating], height: int, width: int
) -> NDArray[np.int32]:
    """Paint masks into one label map.

    Args:
        runs: Runs of N masks.
        priority: (N,) where masks overlap the higher one wins, then the earlier one.
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        (H, W) int32; 0 is background, i + 1 is mask i. A hidden mask is absent.
    """
    cuts = np.searchsorted(runs.owners, np.arange(len(priority) + 1))
    painted = np.zeros(height * width, dtype=np.int32)
    for index in np.lexsort((-np.arange(len(priority)), priority)).tolist():
        own = slice(cuts[index], cuts[index + 1])
        _, positions = expand_ranges(runs.starts[own], runs.ends[own])
        painted[positions] = index + 1
    return np.ascontiguousarray(painted.reshape(width, height).T)


def draw_columns(runs: Runs, boxes: IntArray, height: int) -> NDArray[np.bool_]:
    """Draw masks inside their boxes, all in one array; the inverse of `rle.encode_columns`.

    Args:
        runs: Runs of N masks.
        boxes: (N, 4) their tight boxes, from `measure_runs`.
        height: Image height in pixels.

    Returns:
        (T,) bool: for each mask in turn the pixels of its box, column after column. T is the boxes'
        total area.
    """
    box_heights = boxes[:, 3] - boxes[:, 1]
    sizes = (boxes[:, 2] - boxes[:, 0]) * box_heights
    offsets = np.cumsum(sizes) - sizes
    columns, rows = np.divmod(runs.starts, height)
    owners = runs.owners
    starts = offsets[owners] + (columns - boxes[owners, 0]) * box_heights[owners]
    starts += rows - boxes[owners, 1]
    edges = np.zeros(sizes.sum() + 1, dtype=np.int8)
    edges[starts] += 1
    edges[starts + runs.ends - runs.starts] -= 1  # starts and ends are unique, each on its own
    return np.cumsum(edges[:-1], dtype=np.int8).view(np.bool_)


def list_pixels(runs: Runs) -> tuple[IntArray, IntArray]:
    """List the owner and the position of each pixel that the runs cover, run after run."""
    rows, positions = expand_ranges(runs.starts, runs.ends)
    return runs.owners[rows], positions


def expand_ranges(low: IntArray, high: IntArray) -> tuple[IntArray, IntArray]:
    """List (row, number) for each number in [low[row], high[row])."""
    lengths = np.maximum(high - low, 0)
    rows = np.repeat(np.arange(len(low)), lengths)
    before = np.cumsum(lengths) - lengths
    numbers = np.repeat(low - before, lengths)
    numbers += np.arange(len(numbers))  # in place: these may be the longest arrays there are
    return rows, numbers


def _sum_by_pair(
    first: IntArray, second: IntArray, pixels: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Sum pixels (K,) over equal pairs of indices (K,); sorted by first, then by second."""
    stride = int(second.max(initial=0)) + 1
    pairs, slots = np.unique(first * stride + second, return_inverse=True)
    sums = np.bincount(slots, weights=pixels, minlength=len(pairs)).astype(np.int64)
    return pairs // stride, pairs % stride, sums


def _sort_by_start(runs: Runs) -> Runs:
    order = np.argsort(runs.starts, kind="stable")
    return Runs(*(part[order] for part in runs))


def _runs_of_pixels(owners: IntArray, positions: IntArray) -> Runs:
    """Join pixels into runs, sorted by owner, then by start."""
    order = np.lexsort((positions, owners))
    owners, positions = owners[order], positions[order]
    breaks = (np.diff(owners) != 0) | (np.diff(positions) != 1)
    opens = np.concatenate(([True], breaks))
    closes = np.concatenate((breaks, [True]))
    return Runs(owners[opens], positions[opens], positions[closes] + 1)
