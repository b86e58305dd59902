"""Match ground-truth and predicted cells one to one by the overlap of their masks.

Overlaps are exact pixel counts of the pairs that do overlap, from a joint histogram of two label
maps or from the runs of two RLE lists; there is never a bitmap per cell or a test per pair.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cellseg.structures.cell_masks import CellMasks
from cellseg.structures.rle import check_label_map
from cellseg.structures.runs import overlap_runs

IntArray = NDArray[np.int64]

MAX_HISTOGRAM_BINS = 1 << 24  # 128 MB of counts; sparser pair sets are sorted instead


@dataclass(frozen=True)
class Overlaps:
    """The pairs of cells that share a pixel, of N ground-truth and M predicted cells.

    Attributes:
        gt_index: (P,) index of the ground-truth cell of each pair.
        pred_index: (P,) index of the predicted cell of each pair.
        shared_px: (P,) pixels that the two have in common, at least 1.
        gt_areas: (N,) pixels of each ground-truth cell.
        pred_areas: (M,) pixels of each predicted cell.
    """

    gt_index: IntArray
    pred_index: IntArray
    shared_px: IntArray
    gt_areas: IntArray
    pred_areas: IntArray

    @property
    def union_px(self) -> IntArray:
        """(P,) pixels that at least one of the two has."""
        return self.gt_areas[self.gt_index] + self.pred_areas[self.pred_index] - self.shared_px

    @property
    def ious(self) -> NDArray[np.float64]:
        """(P,) intersection over union, in (0, 1]."""
        return self.shared_px / self.union_px

    def select(self, pairs: NDArray[np.bool_]) -> "Overlaps":
        """Keep some pairs; the cells keep their numbers."""
        return Overlaps(
            self.gt_index[pairs],
            self.pred_index[pairs],
            self.shared_px[pairs],
            self.gt_areas,
            self.pred_areas,
        )


@dataclass(frozen=True)
class Matches:
    """One-to-one matches, sorted by ground-truth cell; each cell occurs at most once.

    Attributes:
        gt_index: (K,) matched ground-truth cells, ascending; K may be 0.
        pred_index: (K,) their partners.
        ious: (K,) intersection over union of each couple.
    """

    gt_index: IntArray
    pred_index: IntArray
    ious: NDArray[np.float64]

    def __len__(self) -> int:
        """Count the matches."""
        return len(self.gt_index)


def overlap_label_maps(
    gt_map: NDArray[np.integer], pred_map: NDArray[np.integer]
) -> tuple[Overlaps, IntArray, IntArray]:
    """Count the shared pixels of all cells of two label maps by one joint histogram.

    Args:
        gt_map: (H, W) integer; 0 is background, each positive value one cell.
        pred_map: (H, W) integer, likewise.

    Returns:
        The overlaps, then the ids (N,) of gt_map and (M,) of pred_map, ascending, that the indices
        of the overlaps refer to. N and M may be 0.

    Raises:
        ValueError: If the maps differ in shape, or are not two-dimensional integer arrays.
    """
    if gt_map.shape != pred_map.shape:
        raise ValueError(
            f"The label maps differ in size: {gt_map.shape} and {pred_map.shape} (height, width)."
        )
    gt_flat, gt_ids = _number_cells(gt_map)
    pred_flat, pred_ids = _number_cells(pred_map)
    columns = len(pred_ids) + 1
    joint = gt_flat * columns + pred_flat
    if (len(gt_ids) + 1) * columns <= max(MAX_HISTOGRAM_BINS, gt_map.size):
        histogram = np.bincount(joint, minlength=(len(gt_ids) + 1) * columns)
        keys = np.flatnonzero(histogram)
        counts = histogram[keys]
    else:
        keys, counts = np.unique(joint, return_counts=True)
    rows, cols = keys // columns, keys % columns
    gt_areas = np.bincount(rows, weights=counts, minlength=len(gt_ids) + 1)[1:]
    pred_areas = np.bincount(cols, weights=counts, minlength=columns)[1:]
    both = (rows > 0) & (cols > 0)
    overlaps = Overlaps(
        rows[both] - 1,
        cols[both] - 1,
        counts[both].astype(np.int64),
        gt_areas.astype(np.int64),
        pred_areas.astype(np.int64),
    )
    return overlaps, gt_ids, pred_ids


def overlap_masks(gt: CellMasks, pred: CellMasks) -> Overlaps:
    """Count the shared pixels of two groups of masks from their runs.

    Args:
        gt: N masks of one image; they may overlap each other.
        pred: M masks of the same size; they may overlap each other.

    Returns:
        The overlaps; empty arrays where a group is empty.

    Raises:
        ValueError: If a mask has another size than its image.
    """
    return Overlaps(*overlap_runs(gt.runs, pred.runs), gt.measure()[1], pred.measure()[1])


def match_cells(
    overlaps: Overlaps, iou_thr: float = 0.5, scores: NDArray[np.floating] | None = None
) -> Matches:
    """Match cells one to one where their IoU exceeds a threshold.

    Above 0.5 a cell can have one partner only, provided that cells of one side do not overlap. In
    all other cases each group of cells that compete is solved exactly: as many matches as
    possible, and among those the largest sum of IoU (linear assignment per connected component).

    Args:
        overlaps: The overlapping pairs.
        iou_thr: A pair may match when its IoU is strictly greater, as in panoptic quality.
        scores: (M,) confidences of the predicted cells; of equally good assignments the one that
            takes the more confident cells wins.

    Returns:
        The matches; none when nothing overlaps enough.
    """
    ious = overlaps.ious
    candidates = np.flatnonzero(ious > iou_thr)
    gt, pred, iou = overlaps.gt_index[candidates], overlaps.pred_index[candidates], ious[candidates]
    num_gt, num_pred = len(overlaps.gt_areas), len(overlaps.pred_areas)
    rivals = np.bincount(gt, minlength=num_gt)[gt] > 1
    rivals |= np.bincount(pred, minlength=num_pred)[pred] > 1
    if rivals.any():
        worth = iou
        if scores is not None:
            rank = np.empty(num_pred)
            rank[np.argsort(scores, kind="stable")] = np.arange(num_pred)
            worth = iou + 1e-9 * rank[pred] / num_pred  # less than any two IoUs differ by
        chosen = _assign(gt, pred, worth, rivals)
        kept = np.sort(np.concatenate((np.flatnonzero(~rivals), chosen)))
        gt, pred, iou = gt[kept], pred[kept], iou[kept]
    order = np.argsort(gt, kind="stable")
    return Matches(gt[order], pred[order], iou[order])


def _assign(
    gt: IntArray, pred: IntArray, worth: NDArray[np.float64], rivals: NDArray[np.bool_]
) -> IntArray:
    """Choose among competing pairs; returns the indices of those kept."""
    edges = np.flatnonzero(rivals)
    num_gt, num_pred = int(gt.max()) + 1, int(pred.max()) + 1
    graph = coo_array(
        (np.ones(len(edges), dtype=bool), (gt[edges], pred[edges] + num_gt)),
        shape=(num_gt + num_pred, num_gt + num_pred),
    )
    component = connected_components(graph, directed=False)[1][gt[edges]]
    edges = edges[np.argsort(component, kind="stable")]
    cuts = np.cumsum(np.unique(component, return_counts=True)[1])[:-1]
    parts = np.split(edges, cuts)
    return np.concatenate([_assign_component(gt, pred, worth, part) for part in parts])


def _assign_component(
    gt: IntArray, pred: IntArray, worth: NDArray[np.float64], edges: IntArray
) -> IntArray:
    """Solve one connected component; returns the indices of the edges kept."""
    rows, row_of = np.unique(gt[edges], return_inverse=True)
    cols, col_of = np.unique(pred[edges], return_inverse=True)
    profit = np.zeros((len(rows), len(cols)))
    profit[row_of, col_of] = worth[edges] + min(profit.shape) + 1  # one more match beats any IoU
    edge_at = np.full(profit.shape, -1, dtype=np.int64)
    edge_at[row_of, col_of] = edges
    chosen = edge_at[linear_sum_assignment(profit, maximize=True)]
    return chosen[chosen >= 0]


def _number_cells(label_map: NDArray[np.integer]) -> tuple[IntArray, IntArray]:
    """Renumber a label map from 1 without gaps.

    Returns:
        (H * W,) numbers, 0 where background, and the ids (N,) they stand for, ascending.
    """
    check_label_map(label_map)
    flat = label_map.reshape(-1).astype(np.int64, copy=False)
    if not flat.size:
        return flat, np.zeros(0, dtype=np.int64)
    if flat.min() < 0 or flat.max() >= max(MAX_HISTOGRAM_BINS, flat.size):
        values, numbers = np.unique(flat, return_inverse=True)
        cells = values > 0
        table = np.where(cells, np.cumsum(cells), 0)
        return table[numbers], values[cells]
    present = np.bincount(flat) > 0
    present[0] = False
    table = np.where(present, np.cumsum(present), 0)
    return table[flat], np.flatnonzero(present)
