"""One image, ready to be scored: the cells that count, without overlap, and all their overlaps.

What is scored is what a label map of the prediction would hold: predictions of at least
`score_thr`, each pixel given to the best-scoring one of its class (Mask R-CNN's masks may overlap,
the measures assume that they do not). Ground truth is taken as it is. A prediction that matches
nothing and lies mostly (over half of its pixels) in regions to ignore is excluded from scoring.

Counts, outcomes and the confusion matrix are views of the same scene.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellseg.defaults import DEFAULT_SCORE_THR
from cellseg.scoring.matching import Matches, Overlaps, match_cells
from cellseg.scoring.results import ImageResult
from cellseg.structures.cell_masks import CellMasks
from cellseg.structures.cells import Cells
from cellseg.structures.runs import (
    Runs,
    overlap_runs,
    resolve_overlaps,
    run_areas,
    select_runs,
    union_runs,
)

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class Scene(NamedTuple):
    """One image, ready to be scored.

    Attributes:
        gt: Runs of N ground-truth cells.
        pred: Runs of M predictions above the score threshold, without overlap inside a class; one
            that better ones hide has no run.
        gt_index: (N,) places of the cells in the ground truth that was given.
        pred_index: (M,) places of the predictions in those that were given.
        gt_labels: (N,) classes.
        pred_labels: (M,) classes.
        pred_scores: (M,) confidences, infinite where there are none.
        overlaps: All pairs that share a pixel, whatever their classes.
        ignored: (M,) whether a prediction lies mostly in regions to ignore.
        num_classes: How many classes there are.
    """

    gt: Runs
    pred: Runs
    gt_index: IntArray
    pred_index: IntArray
    gt_labels: IntArray
    pred_labels: IntArray
    pred_scores: NDArray[np.floating]
    overlaps: Overlaps
    ignored: BoolArray
    num_classes: int

    @property
    def visible(self) -> BoolArray:
        """(M,) whether better predictions leave a pixel of the prediction."""
        return self.overlaps.pred_areas > 0

    def match(self, iou_thr: float) -> Matches:
        """Match cells whatever their classes; of equally good ones the more confident win."""
        return match_cells(self.overlaps, iou_thr, self.pred_scores)


def build_scene(
    truth: Cells, predictions: Cells, num_classes: int, score_thr: float = DEFAULT_SCORE_THR
) -> Scene:
    """Choose the predictions that are scored and find all overlaps.

    Args:
        truth: The ground-truth cells and regions to ignore, with masks; there may be none.
        predictions: The predicted cells, with masks; there may be none. Without scores all are
            taken, and the earlier one wins a pixel that two of a class claim.
        num_classes: How many classes there are.
        score_thr: Predictions below this confidence are left out.

    Returns:
        The scene.

    Raises:
        ValueError: If masks are missing or differ in size, or a label is no class.
    """
    gt_masks, pred_masks = _check_masks(truth), _check_masks(predictions)
    gt_index = np.flatnonzero(~truth.is_ignored)
    pred_index = np.flatnonzero(predictions.confidences >= score_thr)
    gt_labels, pred_labels = truth.labels[gt_index], predictions.labels[pred_index]
    _check_labels(gt_labels, num_classes, "ground-truth cell")
    _check_labels(predictions.labels, num_classes, "prediction")
    if len(truth) and len(predictions) and _size_of(truth) != _size_of(predictions):
        raise ValueError(
            f"The predictions are of an image of {_size_of(predictions)} pixels (height, width), "
            f"the ground truth of one of {_size_of(truth)}."
        )
    gt = select_runs(gt_masks.runs, len(truth), gt_index)
    scores = predictions.confidences[pred_index]
    chosen = select_runs(pred_masks.runs, len(predictions), pred_index)
    pred = resolve_overlaps(chosen, scores, pred_labels)
    regions = union_runs(select_runs(gt_masks.runs, len(truth), np.flatnonzero(truth.is_ignored)))
    pred_areas = run_areas(pred, len(pred_index))
    overlaps = Overlaps(*overlap_runs(gt, pred), run_areas(gt, len(gt_index)), pred_areas)
    ignored = _mostly_inside(regions, pred, pred_areas)
    return Scene(
        gt,
        pred,
        gt_index,
        pred_index,
        gt_labels,
        pred_labels,
        scores,
        overlaps,
        ignored,
        num_classes,
    )


def build_result_scene(
    result: ImageResult, num_classes: int, score_thr: float = DEFAULT_SCORE_THR
) -> Scene:
    """Build the scene of a metric's result; arguments as for `build_scene`.

    Raises:
        ValueError: If masks or the ground truth are missing, or as `build_scene` says; the text
            names the image.
    """
    truth, found = result.ground_truth, result.predictions
    if truth is None or truth.masks is None or found.masks is None:
        raise ValueError(f"Image {result.img_id} came without masks to score.")
    try:
        return build_scene(truth, found, num_classes, score_thr)
    except ValueError as error:
        raise ValueError(f"Image {result.img_id}: {error}") from error


def _size_of(cells: Cells) -> tuple[int, int]:
    """Return height and width of an image in pixels."""
    return cells.height, cells.width


def _check_masks(cells: Cells) -> CellMasks:
    """Return the masks; raise ValueError where there are boxes only."""
    if cells.masks is None:
        raise ValueError("Cells are scored by their masks, but some have boxes only.")
    return cells.masks


def _check_labels(labels: IntArray, num_classes: int, noun: str) -> None:
    """Raise ValueError for the first label that is no class."""
    unknown = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(unknown):
        raise ValueError(
            f"The {noun} {unknown[0]} has class {labels[unknown[0]]}, but the classes are "
            f"0 to {num_classes - 1}."
        )


def _mostly_inside(regions: Runs, pred: Runs, pred_areas: IntArray) -> BoolArray:
    """Return which predictions have over half of their pixels in the regions."""
    _, index, shared = overlap_runs(regions, pred)
    inside = np.zeros(len(pred_areas), dtype=np.int64)
    inside[index] = shared
    return 2 * inside > pred_areas
