"""COCO average precision of many cells, with one limit on detections in every figure.

pycocotools and MMDetection's CocoMetric take the mean AP at 100 detections per image whatever they
are told, so perfect predictions on 200 cells score 0.505. Here every figure uses the same limit.
The protocol (Lin et al., "Microsoft COCO", 2014) is otherwise COCO's own; faster-coco-eval runs it.
"""

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from cellseg.scoring.results import ImageResult, boxes_to_xywh, order_results

IouType = Literal["bbox", "segm"]
DEFAULT_MAX_DETS = 1000
ABSENT_MEAN = -1.0
"""A mean over nothing, such as the AP of large cells where there are none: COCO's own mark."""

_AREA_NAMES = ("s", "m", "l")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassFigures:
    """AP and recall of one class; nan where the images hold no cell of it.

    Attributes:
        name: The class's name.
        num_cells: Annotated cells that count, over all images.
        num_predictions: Predicted cells, over all images and whatever their score.
    """

    name: str
    num_cells: int
    num_predictions: int
    ap: float
    ap_50: float
    ap_75: float
    recall: float


@dataclass(frozen=True)
class AveragePrecision:
    """COCO figures over all classes, and for each class.

    `means` holds mAP, mAP_50, mAP_75, mAP_s, mAP_m, mAP_l, AR, AR_s, AR_m, AR_l (areas up to 32^2,
    up to 96^2 and above, in pixels); classes without cells take no part, and a mean over nothing
    is -1 as in COCO.
    """

    iou_type: IouType
    max_dets: int
    means: dict[str, float]
    classes: list[ClassFigures]


def compute_average_precision(
    results: Sequence[ImageResult],
    class_names: Sequence[str],
    iou_type: IouType = "segm",
    max_dets: int = DEFAULT_MAX_DETS,
) -> AveragePrecision:
    """Score predictions against ground truth by the COCO protocol.

    Args:
        results: One result per image, in any order; may be empty.
        class_names: K names; a label is an index into them.
        iou_type: Match by masks ('segm') or by boxes ('bbox').
        max_dets: The best-scored predictions that count, for each image and class.

    Returns:
        All figures, unrounded.

    Raises:
        ValueError: If a label is not an index into class_names, or masks are missing or of another
            size than their image.
    """
    ordered = order_results(results)
    for result in ordered:
        _check_result(result, len(class_names), iou_type)
    with _pause_garbage_collection():
        precision, recall = _evaluate(ordered, class_names, iou_type, max_dets)
    return AveragePrecision(
        iou_type,
        max_dets,
        _mean_figures(precision, recall),
        _class_figures(precision, recall, ordered, class_names),
    )


@contextmanager
def _pause_garbage_collection() -> Iterator[None]:
    """Keep Python from looking for cycles among ever more dicts of which none is garbage.

    It would take a third of the time of scoring 24,000 masks.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _evaluate(
    ordered: Sequence[ImageResult], class_names: Sequence[str], iou_type: IouType, max_dets: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return precision (T, R, K, A) and recall (T, K, A) of checked results, -1 where absent."""
    if not ordered:
        return np.full((10, 101, len(class_names), 4), -1.0), np.full(
            (10, len(class_names), 4), -1.0
        )
    evaluator = COCOeval_faster(
        _as_coco(ordered, class_names, _ground_truth_rows(ordered, len(class_names), iou_type)),
        _as_coco(ordered, class_names, _prediction_rows(ordered, iou_type)),
        iouType=iou_type,
        print_function=_logger.debug,
    )
    evaluator.params.maxDets = [max_dets]
    evaluator.evaluate()
    evaluator.accumulate()
    precision = np.asarray(evaluator.eval["precision"])[..., 0]  # (T, R, K, A)
    recall = np.asarray(evaluator.eval["recall"])[..., 0]  # (T, K, A)
    return precision, recall


def _check_result(result: ImageResult, num_classes: int, iou_type: IouType) -> None:
    """Raise ValueError for labels and masks that cannot be scored; see the caller."""
    truth, predictions = result.ground_truth, result.predictions
    if truth is None:
        raise ValueError(f"Image {result.img_id} came without ground truth.")
    for what, cells in (("ground truth", truth), ("predictions", predictions)):
        lowest = -1 if cells is truth else 0
        if len(cells.labels) and not lowest <= cells.labels.min() <= cells.labels.max() < (
            num_classes
        ):
            raise ValueError(
                f"The {what} of image {result.img_id} hold a class index outside 0 to "
                f"{num_classes - 1}; the model's num_classes and the data set's classes differ."
            )
        if iou_type == "segm" and cells.masks is None and len(cells):
            raise ValueError(
                f"The {what} of image {result.img_id} hold no masks; score boxes only with "
                "metric='bbox'."
            )
        size = (result.height, result.width)
        if cells.masks is not None and any(tuple(rle["size"]) != size for rle in cells.rles):
            raise ValueError(
                f"A mask in the {what} of image {result.img_id} is not of the image's size, "
                f"{result.height} x {result.width} px; masks must be in original coordinates."
            )


def _as_coco(
    results: Sequence[ImageResult], class_names: Sequence[str], rows: list[dict[str, Any]]
) -> COCO:
    """Wrap annotation rows as faster-coco-eval wants them; images are numbered from 1 in order."""
    coco = COCO()
    coco.dataset = {
        "images": [
            {"id": number, "height": result.height, "width": result.width}
            for number, result in enumerate(results, 1)
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate(class_names, 1)],
        "annotations": rows,
    }
    coco.createIndex()
    return coco


def _ground_truth_rows(
    results: Sequence[ImageResult], num_classes: int, iou_type: IouType
) -> list[dict[str, Any]]:
    """List the ground truth; a region of no class becomes a crowd region of every class."""
    rows: list[dict[str, Any]] = []
    for number, result in enumerate(results, 1):
        truth = result.ground_truth
        if truth is None:
            continue
        boxes = boxes_to_xywh(truth.boxes).tolist()
        labels, ignored = truth.labels.tolist(), truth.is_ignored.tolist()
        areas = truth.areas.tolist()
        for index, label in enumerate(labels):
            row = {
                "image_id": number,
                "bbox": boxes[index],
                "area": areas[index],
                "iscrowd": int(ignored[index] or label < 0),
            }
            if iou_type == "segm" and truth.masks is not None:
                row["segmentation"] = truth.rles[index]
            for category in (label + 1,) if label >= 0 else range(1, num_classes + 1):
                rows.append({**row, "id": len(rows) + 1, "category_id": category})
    return rows


def _prediction_rows(results: Sequence[ImageResult], iou_type: IouType) -> list[dict[str, Any]]:
    """List the predictions; their area is the mask's for 'segm' and the box's for 'bbox'."""
    rows: list[dict[str, Any]] = []
    for number, result in enumerate(results, 1):
        predictions = result.predictions
        boxes = boxes_to_xywh(predictions.boxes)
        areas = boxes[:, 2] * boxes[:, 3] if iou_type == "bbox" else predictions.areas
        columns = (
            boxes.tolist(),
            areas.tolist(),
            predictions.labels.tolist(),
            predictions.confidences.tolist(),
        )
        first = len(rows)
        for box, area, label, score in zip(*columns, strict=True):
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": area,
                    "score": score,
                    "iscrowd": 0,
                }
            )
        if iou_type == "segm" and len(predictions):
            for row, rle in zip(rows[first:], predictions.rles, strict=True):
                row["segmentation"] = rle
    return rows


def _mean_figures(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> dict[str, float]:
    """Average precision (T, R, K, A) and recall (T, K, A) over classes as COCO does."""
    areas = range(1, 1 + len(_AREA_NAMES))
    means = {
        "mAP": _mean_or(precision[..., 0], ABSENT_MEAN),
        "mAP_50": _mean_or(precision[0, ..., 0], ABSENT_MEAN),
        "mAP_75": _mean_or(precision[5, ..., 0], ABSENT_MEAN),
    }
    for name, area in zip(_AREA_NAMES, areas, strict=True):
        means[f"mAP_{name}"] = _mean_or(precision[..., area], ABSENT_MEAN)
    means["AR"] = _mean_or(recall[..., 0], ABSENT_MEAN)
    for name, area in zip(_AREA_NAMES, areas, strict=True):
        means[f"AR_{name}"] = _mean_or(recall[..., area], ABSENT_MEAN)
    return means


def _class_figures(
    precision: NDArray[np.float64],
    recall: NDArray[np.float64],
    results: Sequence[ImageResult],
    class_names: Sequence[str],
) -> list[ClassFigures]:
    """Average precision (T, R, K, A) and recall (T, K, A) for each class, and count its cells."""
    cells = np.zeros(len(class_names), dtype=int)
    predictions = np.zeros(len(class_names), dtype=int)
    for result in results:
        truth = result.ground_truth
        if truth is not None:
            counted = truth.labels[~truth.is_ignored & (truth.labels >= 0)]
            cells += np.bincount(counted, minlength=len(class_names))
        predictions += np.bincount(result.predictions.labels, minlength=len(class_names))
    absent = float("nan")
    return [
        ClassFigures(
            name,
            int(cells[k]),
            int(predictions[k]),
            _mean_or(precision[:, :, k, 0], absent),
            _mean_or(precision[0, :, k, 0], absent),
            _mean_or(precision[5, :, k, 0], absent),
            _mean_or(recall[:, k, 0], absent),
        )
        for k, name in enumerate(class_names)
    ]


def _mean_or(values: NDArray[np.float64], absent: float) -> float:
    """Average the values that exist (COCO marks the others with -1), or return absent."""
    present = values[values > -1]
    return float(present.mean()) if present.size else absent
