"""Do set arithmetic on masks held as runs: overlap, union, and giving each pixel one owner.

The cost grows with the number of runs (about one per column of a cell), not with image size or
with the number of mask pairs. Positions are column-major (x * height + y), as COCO counts them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cellseg.structures.rle import RLE, Runs, decode_runs

IntArray = NDArray[np.int64]


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


def overlap_runs(first: Runs, second: Runs) -> tuple[IntArray, IntArray, IntArray]:
    """Find every pair of masks that share a pixel, and how many they share.

    Masks may overlap within either set. Two runs meet in exactly one of two ways: the second
    starts inside the first, or the first starts strictly inside the second. Each way is a search
    in sorted starts, so that only pairs that do meet are ever looked at.

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
    one_a, two_a = _expand(
        np.searchsorted(two.starts, one.starts, "left"),
        np.searchsorted(two.starts, one.ends, "left"),
    )
    two_b, one_b = _expand(
        np.searchsorted(one.starts, two.starts, "right"),
        np.searchsorted(one.starts, two.ends, "left"),
    )
    i, j = np.concatenate((one_a, one_b)), np.concatenate((two_a, two_b))
    shared = np.minimum(one.ends[i], two.ends[j]) - np.maximum(one.starts[i], two.starts[j])
    num_second = int(second.owners.max()) + 1
    pairs, slots = np.unique(one.owners[i] * num_second + two.owners[j], return_inverse=True)
    sums = np.bincount(slots, weights=shared, minlength=len(pairs)).astype(np.int64)
    return pairs // num_second, pairs % num_second, sums


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


def hand_out_pixels(runs: Runs, scores: NDArray[np.floating], groups: IntArray) -> Runs:
    """Give each pixel to the best mask that claims it, within each group of masks.

    A label map holds one cell a pixel, and so do the measures that follow panoptic quality.
    Only masks that meet another of their group are looked at pixel by pixel.

    Args:
        runs: Runs of N masks.
        scores: (N,) confidences; the higher one wins a pixel, then the earlier mask.
        groups: (N,) integer group (class) of each mask; masks of different groups may overlap.

    Returns:
        Runs of the same N masks without overlap inside a group. A hidden mask has none.
    """
    i, j, _ = overlap_runs(runs, runs)
    meets = (i != j) & (groups[i] == groups[j])
    if not meets.any():
        return runs
    contested = np.zeros(len(scores), dtype=bool)
    contested[i[meets]] = True
    rank = np.empty(len(scores), dtype=np.int64)
    rank[np.lexsort((np.arange(len(scores)), -scores))] = np.arange(len(scores))
    inside = contested[runs.owners]
    owners, positions = _list_pixels(Runs(*(part[inside] for part in runs)))
    order = np.lexsort((rank[owners], positions, groups[owners]))
    owners, positions = owners[order], positions[order]
    same = (np.diff(positions) == 0) & (np.diff(groups[owners]) == 0)
    first = np.concatenate(([True], ~same))
    won = _runs_of_pixels(owners[first], positions[first])
    merged = Runs(*(np.concatenate((a[~inside], b)) for a, b in zip(runs, won, strict=True)))
    order = np.lexsort((merged.starts, merged.owners))
    return Runs(*(part[order] for part in merged))


def runs_of_sized(rles: Sequence[RLE], size: tuple[int, int] | None) -> Runs:
    """Decode masks after checking that all have one size.

    Args:
        rles: N masks.
        size: (H, W) in pixels that each must have; not checked when None.

    Returns:
        The runs of the N masks.

    Raises:
        ValueError: If a mask has another size.
    """
    for index, rle in enumerate(rles):
        if size is not None and tuple(rle["size"]) != tuple(size):
            raise ValueError(
                f"Mask {index} has size {tuple(rle['size'])} (height, width), but the image has "
                f"{tuple(size)}; masks must be in the coordinates of the original image."
            )
    return decode_runs(rles)


def _sort_by_start(runs: Runs) -> Runs:
    order = np.argsort(runs.starts, kind="stable")
    return Runs(*(part[order] for part in runs))


def _expand(low: IntArray, high: IntArray) -> tuple[IntArray, IntArray]:
    """List (row, column) for each column in [low[row], high[row])."""
    lengths = np.maximum(high - low, 0)
    rows = np.repeat(np.arange(len(low)), lengths)
    before = np.cumsum(lengths) - lengths
    return rows, np.arange(lengths.sum()) + np.repeat(low - before, lengths)


def _list_pixels(runs: Runs) -> tuple[IntArray, IntArray]:
    """List the owner and the position of each pixel that the runs cover."""
    rows, positions = _expand(runs.starts, runs.ends)
    return runs.owners[rows], positions


def _runs_of_pixels(owners: IntArray, positions: IntArray) -> Runs:
    """Join pixels into runs, sorted by owner, then by start."""
    order = np.lexsort((positions, owners))
    owners, positions = owners[order], positions[order]
    breaks = (np.diff(owners) != 0) | (np.diff(positions) != 1)
    opens = np.concatenate(([True], breaks))
    closes = np.concatenate((breaks, [True]))
    return Runs(owners[opens], positions[opens], positions[closes] + 1)
