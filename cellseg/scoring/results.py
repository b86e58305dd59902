"""Turn the results of images into COCO result rows, without a detour over files.

A row is `{image_id, category_id, bbox [x, y, w, h], score}`, and with a mask also
`{segmentation: RLE}`. `category_id` counts from 1: class index + 1. `bbox` is in pixels of the
original image and unrounded.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.fileio import write_atomically
from cellseg.structures.cells import Cells


@dataclass(frozen=True)
class ImageResult:
    """All that scoring one image needs, small enough to be gathered from many processes."""

    img_id: int
    height: int
    width: int
    predictions: Cells
    ground_truth: Cells | None = None


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


def result_rows(image_id: int, predictions: Cells, with_masks: bool = True) -> list[dict[str, Any]]:
    """List one image's predictions as COCO result rows.

    Args:
        image_id: The image's id in the annotations.
        predictions: N predicted cells, with scores.
        with_masks: Add the mask of each cell where there are masks.

    Returns:
        N rows in the order of the predictions; an empty list without predictions.
    """
    rows: list[dict[str, Any]] = [
        {"image_id": image_id, "category_id": label + 1, "bbox": box, "score": score}
        for box, label, score in zip(
            boxes_to_xywh(predictions.boxes).tolist(),
            predictions.labels.tolist(),
            predictions.confidences.tolist(),
            strict=True,
        )
    ]
    if with_masks and predictions.masks is not None:
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
    has_masks = all(result.predictions.masks is not None for result in ordered)
    paths = {}
    for kind in ("bbox", "segm") if has_masks else ("bbox",):
        rows = [
            row
            for result in ordered
            for row in result_rows(result.img_id, result.predictions, with_masks=kind == "segm")
        ]
        paths[kind] = write_atomically(f"{outfile_prefix}.{kind}.json", json.dumps(rows))
    return paths
