"""Count what each image adds to F1, PQ, AJI and Dice.

`count_image` runs on each image, anywhere and in any order; `judge` in `judgement.py` then turns
all counts into figures. The counts are small (a few hundred numbers an image) and pickle, so that
gathering them from several processes is cheap.

What is judged is what a label map of the prediction would hold: predictions of at least
`score_thr`, each pixel given to the best-scoring one of its class (Mask R-CNN's masks may overlap,
the measures assume that they do not). Ground truth is taken as it is. A pair matches when its IoU
is strictly greater than the threshold. A prediction that matches nothing and lies mostly (over
half of its pixels) in ignore regions counts for nobody.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellseg.defaults import DEFAULT_SCORE_THR
from cellseg.evaluation.coco_results import ImageResult
from cellseg.evaluation.matching import Matches, Overlaps, match_cells
from cellseg.evaluation.runs import (
    hand_out_pixels,
    overlap_runs,
    run_areas,
    runs_of_sized,
    union_runs,
)
from cellseg.structures.rle import RLE, Runs

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

IOU_THRS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


class CellSet(NamedTuple):
    """The cells of one image.

    Attributes:
        rles: N masks.
        labels: (N,) integer class of each, 0-based.
        scores: (N,) confidence of each; None for ground truth and for tools that give none.
    """

    rles: Sequence[RLE]
    labels: ArrayLike
    scores: ArrayLike | None = None


class Scene(NamedTuple):
    """One image, ready to be judged.

    Attributes:
        gt: Runs of N ground-truth cells.
        pred: Runs of M predictions above the score threshold, without overlap inside a class; one
            that better ones hide has no run.
        gt_labels: (N,) classes.
        pred_labels: (M,) classes.
        pred_scores: (M,) confidences, infinite where there are none.
        overlaps: All pairs that share a pixel, whatever their classes.
        ignored: (M,) whether a prediction lies mostly in ignore regions.
    """

    gt: Runs
    pred: Runs
    gt_labels: IntArray
    pred_labels: IntArray
    pred_scores: NDArray[np.float64]
    overlaps: Overlaps
    ignored: BoolArray


@dataclass(frozen=True)
class ImageCounts:
    """What one image adds to the figures; G groups are the classes and, last, all cells.

    In the last group a cell may match a cell of another class.

    Attributes:
        true_positives: (G, T) matches at each of T IoU thresholds.
        false_positives: (G, T) predictions without a match, ignored ones left out.
        false_negatives: (G, T) ground-truth cells without a match.
        iou_sums: (G,) summed IoU of the matches at the first threshold.
        aji_shared_px: (G,) numerator of AJI.
        aji_union_px: (G,) denominator of AJI.
        common_px: (G,) foreground pixels of both.
        gt_px: (G,) foreground pixels of the ground truth.
        pred_px: (G,) foreground pixels of the predictions.
    """

    true_positives: IntArray
    false_positives: IntArray
    false_negatives: IntArray
    iou_sums: NDArray[np.float64]
    aji_shared_px: IntArray
    aji_union_px: IntArray
    common_px: IntArray
    gt_px: IntArray
    pred_px: IntArray


def split_truth(instances: Iterable[dict[str, Any]]) -> tuple[CellSet, list[RLE]]:
    """Split a CellDataset image's `instances` into cells and ignore regions.

    Args:
        instances: Dicts with `mask` (RLE), `bbox_label` and `ignore_flag`; there may be none.

    Returns:
        The cells, and the masks of the ignore regions, which belong to no class.
    """
    cells: list[dict[str, Any]] = []
    ignored: list[dict[str, Any]] = []
    for instance in instances:
        (ignored if instance["ignore_flag"] else cells).append(instance)
    labels = np.array([cell["bbox_label"] for cell in cells], dtype=np.int64)
    return CellSet([cell["mask"] for cell in cells], labels), [region["mask"] for region in ignored]


def split_result(result: ImageResult) -> tuple[CellSet, CellSet, list[RLE]]:
    """Split a metric's result of an image into cells, predictions and ignore regions.

    Raises:
        ValueError: If the ground truth or masks are missing.
    """
    truth, found = result.ground_truth, result.predictions
    if truth is None or truth.rles is None or found.rles is None:
        raise ValueError(f"Image {result.img_id} came without the masks to judge it by.")
    cells = [rle for rle, ignored in zip(truth.rles, truth.ignored, strict=True) if not ignored]
    regions = [rle for rle, ignored in zip(truth.rles, truth.ignored, strict=True) if ignored]
    predictions = CellSet(found.rles, found.labels, found.scores)
    return CellSet(cells, truth.labels[~truth.ignored]), predictions, regions


def lay_out(
    truth: CellSet,
    predictions: CellSet,
    num_classes: int,
    ignore_regions: Sequence[RLE] = (),
    score_thr: float = DEFAULT_SCORE_THR,
) -> Scene:
    """Choose the predictions that are judged and find all overlaps; arguments as `count_image`."""
    gt_labels, _ = _check_cells(truth, num_classes, "ground-truth cell")
    labels, scores = _check_cells(predictions, num_classes, "prediction")
    kept = np.flatnonzero(scores >= score_thr)
    pred_rles = [predictions.rles[index] for index in kept.tolist()]
    labels, scores = labels[kept], scores[kept]
    every = (*truth.rles, *pred_rles, *ignore_regions)
    size = (every[0]["size"][0], every[0]["size"][1]) if every else None
    gt = runs_of_sized(truth.rles, size)
    pred = hand_out_pixels(runs_of_sized(pred_rles, size), scores, labels)
    regions = union_runs(runs_of_sized(ignore_regions, size))
    pred_areas = run_areas(pred, len(labels))
    overlaps = Overlaps(*overlap_runs(gt, pred), run_areas(gt, len(gt_labels)), pred_areas)
    ignored = _mostly_inside(regions, pred, pred_areas)
    return Scene(gt, pred, gt_labels, labels, scores, overlaps, ignored)


def count_image(
    truth: CellSet,
    predictions: CellSet,
    num_classes: int,
    ignore_regions: Sequence[RLE] = (),
    score_thr: float = DEFAULT_SCORE_THR,
    iou_thrs: Sequence[float] = IOU_THRS,
) -> ImageCounts:
    """Count what one image adds to the figures.

    Args:
        truth: The ground-truth cells; there may be none.
        predictions: The predicted cells; there may be none. Without scores all are taken, and the
            earlier one wins a pixel that two of a class claim.
        num_classes: How many classes there are.
        ignore_regions: Masks whose pixels are nobody's business.
        score_thr: Predictions below this confidence are left out.
        iou_thrs: IoU thresholds of F1, precision and recall, ascending; PQ is taken at the first.

    Returns:
        The counts of each class and of all cells.

    Raises:
        ValueError: If a mask differs in size from the others, or a label is no class.
    """
    scene = lay_out(truth, predictions, num_classes, ignore_regions, score_thr)
    rows = [_count_group(scene, group, iou_thrs) for group in (*range(num_classes), None)]
    return ImageCounts(*(np.array(column) for column in zip(*rows, strict=True)))


def count_result(
    result: ImageResult, num_classes: int, score_thr: float = DEFAULT_SCORE_THR
) -> ImageCounts:
    """Count what one image adds to the figures, from a metric's result of it.

    Args:
        result: The image's predictions and ground truth, both with masks.
        num_classes: How many classes there are.
        score_thr: Predictions below this confidence are left out.

    Returns:
        The counts of each class and of all cells.

    Raises:
        ValueError: If masks or the ground truth are missing, or as `count_image` says; the text
            names the image.
    """
    truth, found, regions = split_result(result)
    try:
        return count_image(truth, found, num_classes, regions, score_thr)
    except ValueError as error:
        raise ValueError(f"Image {result.img_id}: {error}") from error


def _check_cells(cells: CellSet, num_classes: int, noun: str) -> tuple[IntArray, NDArray[Any]]:
    """Return labels (N,) and scores (N,), infinite where there are none."""
    labels = np.asarray(cells.labels, dtype=np.int64).reshape(-1)
    scores = (
        np.full(len(labels), np.inf)
        if cells.scores is None
        else np.asarray(cells.scores, dtype=np.float64).reshape(-1)
    )
    if not len(cells.rles) == len(labels) == len(scores):
        raise ValueError(
            f"{len(cells.rles)} masks came with {len(labels)} labels and {len(scores)} scores; "
            "give one of each for every cell."
        )
    strange = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(strange):
        raise ValueError(
            f"The {noun} {strange[0]} has class {labels[strange[0]]}, but the classes are "
            f"0 to {num_classes - 1}."
        )
    return labels, scores


def _mostly_inside(regions: Runs, pred: Runs, pred_areas: IntArray) -> BoolArray:
    """Tell which predictions have over half of their pixels in the regions."""
    _, index, shared = overlap_runs(regions, pred)
    inside = np.zeros(len(pred_areas), dtype=np.int64)
    inside[index] = shared
    return 2 * inside > pred_areas


def _count_group(scene: Scene, group: int | None, iou_thrs: Sequence[float]) -> tuple[Any, ...]:
    """Count one class, or all cells for None; the fields of ImageCounts, one group each."""
    overlaps = scene.overlaps
    gt_in = np.ones(len(scene.gt_labels), bool) if group is None else scene.gt_labels == group
    pred_in = overlaps.pred_areas > 0  # a prediction hidden by better ones is not there
    if group is not None:
        pred_in &= scene.pred_labels == group
    overlaps = overlaps.select(gt_in[overlaps.gt_index] & pred_in[overlaps.pred_index])
    steps = _match_at(overlaps, iou_thrs)
    found = np.array([len(matches) for matches in steps])
    judged = pred_in & ~scene.ignored
    spared = np.array([np.count_nonzero(~judged[matches.pred_index]) for matches in steps])
    invented = np.count_nonzero(judged) - (found - spared)
    missed = np.count_nonzero(gt_in) - found
    judged[steps[0].pred_index] = True  # a match counts, in an ignore region too
    aji = _count_aji(overlaps, gt_in, judged)
    foreground = _count_foreground(scene, gt_in, judged)
    return (found, invented, missed, fsum(steps[0].ious), *aji, *foreground)


def _match_at(overlaps: Overlaps, iou_thrs: Sequence[float]) -> list[Matches]:
    """Match at each of the ascending thresholds."""
    loosest = match_cells(overlaps, iou_thrs[0])
    if len(loosest) < np.count_nonzero(overlaps.ious > iou_thrs[0]):  # cells compete
        return [loosest, *(match_cells(overlaps, iou_thr) for iou_thr in iou_thrs[1:])]
    steps = [loosest.ious > iou_thr for iou_thr in iou_thrs]
    return [Matches(*(part[step] for part in vars(loosest).values())) for step in steps]


def _count_aji(overlaps: Overlaps, gt_in: BoolArray, judged: BoolArray) -> tuple[int, int]:
    """Count numerator and denominator of AJI over the predictions that count."""
    overlaps = overlaps.select(judged[overlaps.pred_index])
    order = np.lexsort((-overlaps.ious, overlaps.gt_index))
    best = order[np.diff(overlaps.gt_index[order], prepend=-1) > 0]
    alone_gt, alone_pred = gt_in.copy(), judged.copy()
    alone_gt[overlaps.gt_index[best]] = False
    alone_pred[overlaps.pred_index[best]] = False
    union = overlaps.union_px[best].sum()
    union += overlaps.gt_areas[alone_gt].sum() + overlaps.pred_areas[alone_pred].sum()
    return int(overlaps.shared_px[best].sum()), int(union)


def _count_foreground(scene: Scene, gt_in: BoolArray, judged: BoolArray) -> tuple[int, int, int]:
    """Count the foreground pixels of both, of the ground truth, and of the predictions."""
    gt = union_runs(Runs(*(part[gt_in[scene.gt.owners]] for part in scene.gt)))
    pred = union_runs(Runs(*(part[judged[scene.pred.owners]] for part in scene.pred)))
    common = overlap_runs(gt, pred)[2].sum()
    return int(common), int((gt.ends - gt.starts).sum()), int((pred.ends - pred.starts).sum())
