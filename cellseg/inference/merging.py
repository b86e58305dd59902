"""Merge predictions of the same cells: over test-time views, over models and over tile seams.

Everything rests on one step: the pairs of cells that share pixels, and how many, from the runs of
their masks (no N x N matrix, no full-size bitmap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cellseg.inference.overlaps import find_box_pairs, intersect_boxes, measure_overlaps
from cellseg.inference.tiles import Tile
from cellseg.structures.cells import Cells
from cellseg.structures.runs import Crop

MergeMethod = Literal["wbf", "nms"]

_SAME_VIEW_IOU = 0.7  # from which two tiles certainly saw the same cell


def suppress_duplicates(
    num_cells: int, pairs: NDArray[np.int64], priority: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Keep, of cells that are the same, the one of highest priority (greedy suppression).

    Args:
        num_cells: How many cells there are.
        pairs: (P, 2) pairs that count as the same cell.
        priority: (N,) higher goes first; of equals the earlier cell goes first.

    Returns:
        (N,) bool, True for the cells to keep.
    """
    neighbors = _neighbors(num_cells, pairs)
    kept = np.ones(num_cells, dtype=bool)
    involved = np.unique(pairs)
    for index in involved[np.argsort(-priority[involved], kind="stable")].tolist():
        if kept[index]:
            for other in neighbors[index]:
                kept[other] = False
            kept[index] = True
    return kept


def merge_views(
    views: Sequence[Cells],
    method: MergeMethod = "wbf",
    iou_thr: float = 0.5,
    weights: Sequence[float] | None = None,
) -> Cells:
    """Merge several predictions of one image: test-time views, or the models of an ensemble.

    Cells of one class whose masks overlap by iou_thr or more are one cell; each view contributes at
    most one to it, the best. "nms" keeps the cell of the highest score as it is. "wbf" (weighted
    boxes fusion, arXiv:1910.13302) averages: boxes and masks weighted by score, where a pixel
    stays if the views that see it hold at least half of the weight of those that found the cell;
    the score is the mean over all views, a view that missed the cell counting 0.

    Args:
        views: One prediction a view, all in the pixels of the same image.
        method: "wbf" or "nms".
        iou_thr: Mask IoU from which two cells are the same.
        weights: How much each view's scores count; all alike when None.

    Returns:
        The merged cells, highest score first.

    Raises:
        ValueError: If there is no view, or the method is neither of the two.
    """
    if method not in ("wbf", "nms"):
        raise ValueError(f"Cells merge by 'wbf' or 'nms', not by {method!r}.")
    trust = np.ones(len(views)) if weights is None else np.asarray(weights, dtype=np.float64)
    everything = Cells.concatenate(views)
    if len(views) == 1:
        return everything[np.argsort(-everything.confidences, kind="stable")]
    view_ids = np.repeat(np.arange(len(views)), [len(view) for view in views])
    strength = everything.confidences * trust[view_ids]
    overlaps = measure_overlaps(everything, min_overlap=iou_thr)
    same = (overlaps.iou >= iou_thr) & _alike(everything.labels, overlaps.pairs)
    groups = _group_views(everything, view_ids, strength, overlaps.pairs[same])
    heads = np.array([group[0] for group in groups], dtype=np.int64)
    if method == "nms":
        merged = everything[heads]
        merged = replace(merged, scores=(strength[heads] / trust.max()).astype(np.float32))
    else:
        merged = _fuse_groups(everything, groups, strength, float(trust.sum()))
    return merged[np.argsort(-merged.confidences, kind="stable")]


def _group_views(
    cells: Cells,
    view_ids: NDArray[np.int64],
    strength: NDArray[np.floating],
    pairs: NDArray[np.int64],
) -> list[list[int]]:
    """Group cells that are the same, strongest first, with at most one cell of each view."""
    neighbors = _neighbors(len(cells), pairs)
    order = np.argsort(-strength, kind="stable")
    rank = np.empty(len(cells), dtype=np.int64)
    rank[order] = np.arange(len(cells))
    taken = np.zeros(len(cells), dtype=bool)
    groups = []
    for index in order.tolist():
        if taken[index]:
            continue
        taken[index] = True
        group, seen = [index], {int(view_ids[index])}
        for other in sorted(neighbors[index], key=rank.__getitem__):
            if taken[other]:
                continue
            # A weaker twin within one view is that view's own duplicate: it is used up unseen.
            taken[other] = True
            if int(view_ids[other]) not in seen:
                seen.add(int(view_ids[other]))
                group.append(other)
        groups.append(group)
    return groups


def _fuse_groups(
    cells: Cells, groups: list[list[int]], strength: NDArray[np.floating], total_trust: float
) -> Cells:
    """Average the boxes, scores and masks of each group."""
    heads = np.array([group[0] for group in groups], dtype=np.int64)
    owners = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    members = np.array([index for group in groups for index in group], dtype=np.int64)
    weights = strength[members].astype(np.float64).clip(1e-12)
    sums = np.bincount(owners, weights=weights, minlength=len(groups))
    boxes = np.stack(
        [
            np.bincount(owners, weights=weights * cells.boxes[members, side], minlength=len(groups))
            / sums
            for side in range(4)
        ],
        axis=1,
    )
    crops = cells.crops()
    masks = [
        crops[group[0]]
        if len(group) == 1
        else _vote([crops[index] for index in group], strength[group])
        for group in groups
    ]
    fused = Cells.from_crops(masks, sums / total_trust, cells.labels[heads], cells)
    return replace(fused, boxes=boxes.astype(np.float32)) if len(fused) == len(boxes) else fused


def _vote(crops: Sequence[Crop], weights: NDArray[np.floating]) -> Crop:
    """Average masks inside their common box; pixels with at least half of the weight stay."""
    votes, x0, y0 = _sum_masks(crops, weights)
    mask = votes >= weights.sum() / 2 * (1 - 1e-6)
    return Crop(mask, x0, y0) if mask.any() else crops[0]


def _sum_masks(
    crops: Sequence[Crop], weights: NDArray[np.floating]
) -> tuple[NDArray[np.float64], int, int]:
    """Add up weighted masks in their common box (h, w), at image column x0 and row y0."""
    x0, y0 = min(crop.x0 for crop in crops), min(crop.y0 for crop in crops)
    x2 = max(crop.x0 + crop.mask.shape[1] for crop in crops)
    y2 = max(crop.y0 + crop.mask.shape[0] for crop in crops)
    votes = np.zeros((y2 - y0, x2 - x0))
    for crop, weight in zip(crops, weights.tolist(), strict=True):
        rows, columns = crop.mask.shape
        votes[crop.y0 - y0 :, crop.x0 - x0 :][:rows, :columns] += weight * crop.mask
    return votes, x0, y0


def merge_tiles(
    cells: Cells,
    tile_ids: NDArray[np.int64],
    tiles: Sequence[Tile],
    border_px: float = 3.0,
    iou_thr: float = 0.4,
    iomin_thr: float = 0.5,
    slack_px: float = 16.0,
) -> Cells:
    """Merge the cells of overlapping tiles, so that a cell on a seam appears once and whole.

    A cell that comes within border_px of a tile's inner border may be cut there: it is dropped in
    favour of a tile that holds it whole. Of whole cells, those whose center lies in their own
    tile's core come first; another tile's view of the same place is only used where it is within
    slack_px of its own core, or where the owner's view was cut. Cells of different tiles are the
    same, whatever their class, if their masks overlap by iou_thr or one lies in the other by
    iomin_thr; where each lies in its own tile's core, both are kept if the tiles saw them as two.
    What no tile holds whole, being larger than the overlap, is joined from its parts; a part
    without its counterpart is dropped.

    Args:
        cells: N cells of all tiles, in the pixels of the image.
        tile_ids: (N,) tile that each cell was found in, an index into tiles.
        tiles: The grid.
        border_px: Cells nearer than this to an inner border count as cut, in pixels.
        iou_thr: Mask IoU from which cells of different tiles are the same.
        iomin_thr: Intersection over the smaller area from which they are.
        slack_px: How far from its core a tile may still answer for a cell, in pixels.

    Returns:
        The merged cells, highest score first, ties in the order of the tiles.
    """
    if len(cells) == 0:
        return cells
    bounds = np.array(tiles, dtype=np.float64)[tile_ids]  # (N, 8)
    mask_boxes, _ = cells.measure()
    cut = _inner_sides_touched(cells, mask_boxes, bounds, border_px)  # (N, 4)
    whole = np.logical_not(cut.any(axis=1))
    centers = (mask_boxes[:, :2] + mask_boxes[:, 2:]) / 2
    off_core = np.maximum(bounds[:, 4:6] - centers, centers - bounds[:, 6:8]).max(axis=1)
    owned = (centers >= bounds[:, 4:6]).all(axis=1) & (centers < bounds[:, 6:8]).all(axis=1)
    overlaps = measure_overlaps(cells, _pairs_across_tiles(mask_boxes, tile_ids, bounds))
    same = overlaps.iou >= iou_thr
    rivals = (overlaps.iomin >= iomin_thr) & ~same
    # Two cells that lie each in its own tile's core may well overlap and be two.
    owners = rivals & (owned & whole)[overlaps.pairs].all(axis=1)
    views = overlaps.pairs[overlaps.iou >= _SAME_VIEW_IOU]
    rivals[owners] = ~_seen_as_two(overlaps.pairs[owners], views, tile_ids, mask_boxes, bounds)
    twins = overlaps.pairs[same | rivals]
    candidate = whole & (owned | (off_core <= slack_px) | _have_cut_twin(twins, whole))
    kept = candidate & suppress_duplicates(
        len(cells), twins[candidate[twins].all(axis=1)], owned + cells.confidences / 2
    )
    covered = kept.copy()
    covered[np.unique(twins[kept[twins].any(axis=1)])] = True
    parts = overlaps.pairs[(~whole & ~covered)[overlaps.pairs].all(axis=1)]
    return _take_best_first(cells, kept, _join_parts(cells, parts, bounds, cut))


def _have_cut_twin(twins: NDArray[np.int64], whole: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which cells (N,) another tile saw, too, but cut; twins (T, 2) are the same cell."""
    cut_twin = np.zeros(len(whole), dtype=bool)
    for one, two in (twins.T, twins.T[::-1]):
        cut_twin[one[~whole[two]]] = True
    return cut_twin


def _take_best_first(cells: Cells, kept: NDArray[np.bool_], joined: Cells) -> Cells:
    """Take the cells kept (N,) and the joined ones, highest score first."""
    if not len(joined):  # sort and select at once, since a slide's cells take room
        places = np.flatnonzero(kept)
        return cells[places[np.argsort(-cells.confidences[places], kind="stable")]]
    merged = Cells.concatenate([cells[kept], joined])
    return merged[np.argsort(-merged.confidences, kind="stable")]


def _seen_as_two(
    pairs: NDArray[np.int64],
    views: NDArray[np.int64],
    tile_ids: NDArray[np.int64],
    mask_boxes: NDArray[np.int64],
    bounds: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return which pairs of cells of different tiles are two cells, by what each tile saw.

    One tile may see a cell where the other sees two neighbors as one: both would be found twice.

    Args:
        pairs: (P, 2) cells of different tiles that cover one another.
        views: (V, 2) cells of different tiles that are views of the same cell.
        tile_ids: (N,) tile of each cell.
        mask_boxes: (N, 4) tight boxes of the masks.
        bounds: (N, 8) each cell's tile.

    Returns:
        (P,) whether a tile saw both cells, and no tile that holds both saw only its own.
    """
    stride = int(tile_ids.max()) + 1
    seen = np.concatenate([one * stride + tile_ids[two] for one, two in (views.T, views.T[::-1])])
    both, holds = [], []
    for own, other in (pairs.T, pairs.T[::-1]):
        both.append(np.isin(other * stride + tile_ids[own], seen))
        inside = mask_boxes[other, :2] >= bounds[own, :2]
        holds.append((inside & (mask_boxes[other, 2:] <= bounds[own, 2:4])).all(axis=1))
    return np.any(both, axis=0) & (np.array(both) | ~np.array(holds)).all(axis=0)


def _inner_sides_touched(
    cells: Cells, mask_boxes: NDArray[np.int64], bounds: NDArray[np.float64], border_px: float
) -> NDArray[np.bool_]:
    """Return which inner borders (left, top, right, bottom) of its tile a cell touches, (N, 4)."""
    near = np.minimum(mask_boxes[:, :2], cells.boxes[:, :2]) <= bounds[:, :2] + border_px
    far = np.maximum(mask_boxes[:, 2:], cells.boxes[:, 2:]) >= bounds[:, 2:4] - border_px
    inner_near = bounds[:, :2] > 0
    inner_far = bounds[:, 2:4] < (cells.width, cells.height)
    return np.concatenate((near & inner_near, far & inner_far), axis=1)


def _pairs_across_tiles(
    mask_boxes: NDArray[np.int64], tile_ids: NDArray[np.int64], bounds: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Find pairs of cells of different tiles whose boxes overlap; both lie near a seam."""
    tile_boxes = np.unique(bounds[:, :4], axis=0)
    neighbors = find_box_pairs(tile_boxes)
    shared = intersect_boxes(tile_boxes, neighbors)
    if not len(shared):
        return np.zeros((0, 2), dtype=np.int64)
    hits = find_box_pairs(np.concatenate((mask_boxes, shared)))
    hits = hits[(hits[:, 0] < len(mask_boxes)) & (hits[:, 1] >= len(mask_boxes))]
    seam = np.unique(hits[:, 0])
    pairs = seam[find_box_pairs(mask_boxes[seam])].reshape(-1, 2)
    return pairs[tile_ids[pairs[:, 0]] != tile_ids[pairs[:, 1]]]


def _join_parts(
    cells: Cells, pairs: NDArray[np.int64], bounds: NDArray[np.float64], cut: NDArray[np.bool_]
) -> Cells:
    """Join cut cells of different tiles that agree where both tiles look.

    Args:
        cells: N cells of all tiles.
        pairs: (P, 2) cut cells of different tiles whose masks overlap.
        bounds: (N, 8) each cell's tile.
        cut: (N, 4) inner borders that a cell touches.

    Returns:
        One cell a group of parts, with the union of their masks and the class of the part of the
        highest score; groups that are still cut somewhere are left out.
    """
    if not len(pairs):
        return cells[:0]
    used = np.unique(pairs)
    crops = dict(zip(used.tolist(), cells[used].crops(), strict=True))
    shared = intersect_boxes(bounds[:, :4], pairs).astype(np.int64)
    agreeing = [
        _agree(crops[one], crops[two], box)
        for (one, two), box in zip(pairs.tolist(), shared.tolist(), strict=True)
    ]
    links = pairs[np.array(agreeing, dtype=bool)]
    groups = _connected_groups(links)
    masks, scores, labels = [], [], []
    for group in groups:
        votes, x0, y0 = _sum_masks([crops[index] for index in group], np.ones(len(group)))
        union = Crop(votes > 0, x0, y0)
        box = (union.x0, union.y0, *np.add((union.x0, union.y0), union.mask.shape[::-1]))
        reach = np.array(box, dtype=np.float64) * (1, 1, -1, -1)
        limits = bounds[group, :4] * (1, 1, -1, -1)
        if (cut[group] & (reach >= limits)).any():
            continue
        best = max(group, key=lambda index: cells.confidences[index])
        masks.append(union)
        scores.append(cells.confidences[best])
        labels.append(cells.labels[best])
    return Cells.from_crops(masks, scores, labels, cells)


def _agree(one: Crop, two: Crop, box: Sequence[int]) -> bool:
    """Return whether two masks share at least half of the smaller one inside a box."""
    counts = []
    for crop in (one, two):
        x1, y1 = box[0] - crop.x0, box[1] - crop.y0
        part = crop.mask[
            max(y1, 0) : max(box[3] - crop.y0, 0), max(x1, 0) : max(box[2] - crop.x0, 0)
        ]
        counts.append(np.count_nonzero(part))
    return bool(2 * _count_shared(one, two, box) >= min(counts))


def _count_shared(one: Crop, two: Crop, box: Sequence[int]) -> int:
    """Count the pixels that two masks share inside a box, given as x1, y1, x2, y2."""
    x1, y1 = max(box[0], one.x0, two.x0), max(box[1], one.y0, two.y0)
    x2 = min(box[2], one.x0 + one.mask.shape[1], two.x0 + two.mask.shape[1])
    y2 = min(box[3], one.y0 + one.mask.shape[0], two.y0 + two.mask.shape[0])
    if x2 <= x1 or y2 <= y1:
        return 0
    first = one.mask[y1 - one.y0 : y2 - one.y0, x1 - one.x0 : x2 - one.x0]
    second = two.mask[y1 - two.y0 : y2 - two.y0, x1 - two.x0 : x2 - two.x0]
    return int(np.count_nonzero(first & second))


def _connected_groups(links: NDArray[np.int64]) -> list[list[int]]:
    """Collect linked indices into groups, each ascending, in the order of their first members."""
    groups: dict[int, list[int]] = {}
    for one, two in links.tolist():
        first, second = groups.setdefault(one, [one]), groups.setdefault(two, [two])
        if first is not second:
            first.extend(second)
            for index in second:
                groups[index] = first
    unique = {id(group): sorted(group) for group in groups.values()}
    return sorted(unique.values())


def _neighbors(num_cells: int, pairs: NDArray[np.int64]) -> list[list[int]]:
    """List each cell's partners."""
    neighbors: list[list[int]] = [[] for _ in range(num_cells)]
    for one, two in pairs.tolist():
        neighbors[one].append(two)
        neighbors[two].append(one)
    return neighbors


def _alike(values: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which pairs have equal values."""
    return values[pairs[:, 0]] == values[pairs[:, 1]]
