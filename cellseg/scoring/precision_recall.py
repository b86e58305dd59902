"""Trace precision against recall of each class, as COCO matches and ranks predictions.

The area under a curve is the class's AP at that IoU threshold, so what is drawn is what the table
says (Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2010; Lin et al.,
"Microsoft COCO", 2014).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellseg.scoring.average_precision import DEFAULT_MAX_DETS
from cellseg.scoring.matching import overlap_masks
from cellseg.scoring.results import ImageResult, order_results
from cellseg.structures.cells import Cells

FloatArray = NDArray[np.float64]

RECALL_LEVELS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class PrecisionRecall:
    """The curve of one class.

    Attributes:
        name: The class name.
        num_cells: Annotated cells that count; without one there is nothing to draw.
        scores: (P,) confidences, descending; P may be 0.
        recall: (P,) share of the cells found by the predictions up to each score.
        precision: (P,) share of those predictions that found a cell.
    """

    name: str
    num_cells: int
    scores: FloatArray
    recall: FloatArray
    precision: FloatArray

    @property
    def levels(self) -> FloatArray:
        """(101,) best precision at each of RECALL_LEVELS or beyond, 0 where it is not reached."""
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        places = np.searchsorted(self.recall, RECALL_LEVELS, side="left")
        return np.append(best, 0.0)[places]

    @property
    def average(self) -> float:
        """AP, the mean of the levels; nan without cells."""
        return float(self.levels.mean()) if self.num_cells else float("nan")

    def at_score(self, score_thr: float) -> tuple[float, float] | None:
        """Return recall and precision of the predictions of at least a score; None without any."""
        count = int((self.scores >= score_thr).sum())
        return (float(self.recall[count - 1]), float(self.precision[count - 1])) if count else None


def trace_precision_recall(
    results: Sequence[ImageResult],
    class_names: Sequence[str],
    iou_thr: float = 0.5,
    max_dets: int = DEFAULT_MAX_DETS,
) -> list[PrecisionRecall]:
    """Trace the curve of each class over all images.

    Args:
        results: One result per image, with ground truth and masks; may be empty.
        class_names: K names; a label is an index into them.
        iou_thr: A prediction finds a cell when their mask IoU is at least this.
        max_dets: The best-scored predictions that count, for each image and class.

    Returns:
        One curve a class.

    Raises:
        ValueError: If masks are missing.
    """
    scores: list[list[FloatArray]] = [[] for _ in class_names]
    hits: list[list[NDArray[np.bool_]]] = [[] for _ in class_names]
    num_cells = np.zeros(len(class_names), dtype=np.int64)
    for result in order_results(results):
        truth, found = result.ground_truth, result.predictions
        if truth is None or truth.masks is None or found.masks is None:
            raise ValueError(f"Image {result.img_id} came without masks to score.")
        counted = truth.labels[~truth.is_ignored & (truth.labels >= 0)]
        num_cells += np.bincount(counted, minlength=len(class_names))
        order, hit = _match_greedily(truth, found, len(class_names), iou_thr, max_dets)
        labels = found.labels[order]
        for label in np.unique(labels).tolist():
            scores[label].append(found.confidences[order][labels == label].astype(np.float64))
            hits[label].append(hit[labels == label])
    return [
        _accumulate(name, int(num_cells[k]), scores[k], hits[k])
        for k, name in enumerate(class_names)
    ]


def _match_greedily(
    truth: Cells, found: Cells, num_classes: int, iou_thr: float, max_dets: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Let each prediction of an image, best score first, take the free cell it overlaps most.

    Returns:
        The predictions (M,) that count, best first, and (M,) whether each found a cell. Those that
        found none but lie in an ignored region are left out.
    """
    order = np.argsort(-found.confidences, kind="stable")
    seen = np.zeros(num_classes, dtype=np.int64)
    counts = np.zeros(len(order), dtype=bool)
    for index in order.tolist():
        label = found.labels[index]
        counts[index] = seen[label] < max_dets
        seen[label] += 1
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    overlaps = overlap_masks(truth.get_masks(), found.get_masks())
    gt, pred = overlaps.gt_index, overlaps.pred_index
    excused = truth.is_ignored | (truth.labels < 0)
    # Of an ignored region only the prediction's share inside counts, as of COCO's crowds.
    ious = np.where(excused[gt], overlaps.shared_px / overlaps.pred_areas[pred], overlaps.ious)
    same = (truth.labels[gt] == found.labels[pred]) | (truth.labels[gt] < 0)
    able = np.flatnonzero(same & counts[pred] & (ious >= iou_thr))
    able = able[np.lexsort((-gt[able], -ious[able], excused[gt[able]], rank[pred[able]]))]
    hit, spared = np.zeros(len(order), dtype=bool), np.zeros(len(order), dtype=bool)
    taken = np.zeros(len(truth.labels), dtype=bool)
    for cell, prediction in zip(gt[able].tolist(), pred[able].tolist(), strict=True):
        if hit[prediction] or taken[cell]:
            continue
        if excused[cell]:
            spared[prediction] = True
        else:
            hit[prediction] = taken[cell] = True
    order = order[(counts & (hit | ~spared))[order]]
    return order, hit[order]


def _accumulate(
    name: str, num_cells: int, scores: list[FloatArray], hits: list[NDArray[np.bool_]]
) -> PrecisionRecall:
    """Rank the predictions of all images together."""
    every = np.concatenate([np.zeros(0), *scores])
    order = np.argsort(-every, kind="stable")
    found = np.cumsum(np.concatenate([np.zeros(0, dtype=bool), *hits])[order])
    return PrecisionRecall(
        name,
        num_cells,
        every[order],
        found / max(num_cells, 1),
        found / np.arange(1, len(every) + 1),
    )
