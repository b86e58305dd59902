"""Turn the results of images into COCO result rows, without a detour over files.

A row is `{image_id, category_id, bbox [x, y, w, h], score}`, and with a mask also
`{segmentation: RLE}`. `category_id` counts from 1: class index + 1. `bbox` is in pixels of the
original image and unrounded.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.fileio import write_atomically
from cellseg.structures.rle import RLE


@dataclass(frozen=True)
class GroundTruth:
    """The annotated cells of one image; M may be 0.

    Attributes:
        boxes_xyxy: (M, 4) float64 in pixels, x2 and y2 exclusive.
        labels: (M,) int64 class indices; -1 for a region that belongs to no class.
        ignored: (M,) bool; True for regions in which no prediction counts.
        areas: (M,) int64 in pixels, counted in the masks (in the boxes where there are no masks).
        rles: M masks, or None where only boxes were annotated.
    """

    boxes_xyxy: NDArray[np.float64]
    labels: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    areas: NDArray[np.int64]
    rles: list[RLE] | None


@dataclass(frozen=True)
class Predictions:
    """The predicted cells of one image; N may be 0.

    Attributes:
        boxes_xyxy: (N, 4) float64 in pixels of the original image.
        scores: (N,) float64.
        labels: (N,) int64 class indices.
        rles: N masks, or None where the model predicts boxes only.
        areas: (N,) int64 pixels of the masks; unused without masks.
    """

    boxes_xyxy: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    rles: list[RLE] | None
    areas: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


@dataclass(frozen=True)
class ImageResult:
    """All that judging one image needs, small enough to be gathered from many processes."""

    img_id: int
    height: int
    width: int
    predictions: Predictions
    ground_truth: GroundTruth | None = None


def order_results(results: Iterable[ImageResult]) -> list[ImageResult]:
    """Sort results by image id and keep one for each image.

    Scores that tie across images are ranked by the images' order, and a data loader of several
    processes pads its last batch with repeated images; so both must not depend on who saw what.
    """
    by_id: dict[int, ImageResult] = {}
    for result in results:
        by_id.setdefault(result.img_id, result)
    return [by_id[img_id] for img_id in sorted(by_id)]


def boxes_to_xywh(boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn (N, 4) x1, y1, x2, y2 into (N, 4) x, y, width, height; N may be 0."""
    boxes = np.array(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


def result_rows(
    image_id: int, predictions: Predictions, with_masks: bool = True
) -> list[dict[str, Any]]:
    """List one image's predictions as COCO result rows.

    Args:
        image_id: The image's id in the annotations.
        predictions: N predicted cells.
        with_masks: Add the mask of each cell where there are masks.

    Returns:
        N rows in the order of the predictions; an empty list without predictions.
    """
    rows: list[dict[str, Any]] = [
        {"image_id": image_id, "category_id": label + 1, "bbox": box, "score": score}
        for box, label, score in zip(
            boxes_to_xywh(predictions.boxes_xyxy).tolist(),
            predictions.labels.tolist(),
            predictions.scores.tolist(),
            strict=True,
        )
    ]
    if with_masks and predictions.rles is not None:
        for row, rle in zip(rows, predictions.rles, strict=True):
            row["segmentation"] = rle
    return rows


def write_result_files(
    results: Iterable[ImageResult], outfile_prefix: str | Path
) -> dict[str, Path]:
    """Write COCO result JSON that any COCO tool reads.

    pycocotools takes a row's area from `bbox` where there is one; for exact small, medium and large
    figures drop `bbox` from the segm rows before loading, as MMDetection does.

    Args:
        results: Results, one an image.
        outfile_prefix: Start of the paths, `work/results` for `work/results.segm.json`.

    Returns:
        The path written for each of 'bbox' and 'segm'; no 'segm' where no masks were predicted.
    """
    ordered = order_results(results)
    has_masks = all(result.predictions.rles is not None for result in ordered)
    paths = {}
    for kind in ("bbox", "segm") if has_masks else ("bbox",):
        rows = [
            row
            for result in ordered
            for row in result_rows(result.img_id, result.predictions, with_masks=kind == "segm")
        ]
        paths[kind] = write_atomically(f"{outfile_prefix}.{kind}.json", json.dumps(rows))
    return paths
