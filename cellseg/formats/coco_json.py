"""COCO results JSON of one image and of all, and the hw3 submission made of it."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from cellseg.errors import CellsegError
from cellseg.fileio import write_atomically
from cellseg.structures.cells import Cells

BoxFormat = Literal["xywh", "xyxy"]
SUBMISSION_NAME = "test-results.json"


def cells_to_coco_results(
    cells: Cells, image_id: int, box_format: BoxFormat = "xywh"
) -> list[dict[str, Any]]:
    """Turn cells into COCO's results format, as pycocotools' loadRes reads it.

    Args:
        cells: Cells of one image; may be empty.
        image_id: COCO id of the image.
        box_format: "xywh" as COCO wants it, or corners "xyxy".

    Returns:
        One dict a cell: image_id, category_id (label + 1), bbox in pixels, score, segmentation
        (RLE).
    """
    boxes = cells.boxes.astype(np.float64)
    if box_format == "xywh":
        boxes[:, 2:] -= boxes[:, :2]
    return [
        {
            "image_id": int(image_id),
            "category_id": label + 1,
            "bbox": box,
            "score": score,
            "segmentation": {"size": [cells.height, cells.width], "counts": rle["counts"]},
        }
        for label, box, score, rle in zip(
            cells.labels.tolist(),
            boxes.round(2).tolist(),
            cells.confidences.astype(np.float64).round(5).tolist(),
            cells.rles,
            strict=True,
        )
    ]


def write_coco_results(
    cells: Cells, path: str | Path, image_id: int = 0, box_format: BoxFormat = "xywh"
) -> Path:
    """Write the cells of one image as a COCO results file; see `cells_to_coco_results`."""
    results = cells_to_coco_results(cells, image_id, box_format)
    return write_atomically(path, _encode(results))


def read_parts(parts: Iterable[tuple[Path, int]]) -> Iterator[list[dict[str, Any]]]:
    """Read the result files of single images, each with the id that the image has in this run.

    Args:
        parts: File from `write_coco_results`, and the image's COCO id.

    Yields:
        The results of one file, image_id set to that id, whatever the file says.
    """
    for path, image_id in parts:
        yield [{**result, "image_id": image_id} for result in json.loads(path.read_text("utf-8"))]


def join_coco_results(parts: Sequence[tuple[Path, int]], path: str | Path) -> Path:
    """Join the result files of single images into one, which pycocotools' loadRes reads.

    A file whose results have another image_id, from an earlier run over other images, is put right.

    Args:
        parts: As for `read_parts`.
        path: The joined file.

    Returns:
        The joined file.
    """

    def write(file: BinaryIO) -> None:
        file.write(b"[")
        separator = b""
        for (part, _), results in zip(parts, read_parts(parts), strict=True):
            text = _encode(results).encode()
            if text != part.read_bytes():
                write_atomically(part, text)
            if results:
                file.write(separator + text[1:-1])
                separator = b","
        file.write(b"]")

    return write_atomically(path, write)


def _encode(results: Sequence[Mapping[str, Any]]) -> str:
    """Turn results into compact JSON."""
    return json.dumps(results, separators=(",", ":"))


def read_image_index(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read `test_image_name_to_ids.json`: file name to its row (file_name, id, height, width).

    Raises:
        CellsegError: If the file is missing, holds something else, or names a file or id twice.
    """
    path = Path(path)
    try:
        rows = json.loads(path.read_text("utf-8"))
        index = {
            str(row["file_name"]): {
                "file_name": str(row["file_name"]),
                **{key: int(row[key]) for key in ("id", "height", "width")},
            }
            for row in rows
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CellsegError(
            f"{path} cannot be read as an index of test images ({error}); it must be a JSON list "
            f"of rows with "
            "file_name, id, height and width."
        ) from error
    if len(index) != len(rows):
        raise CellsegError(f"{path} names a file twice; each file_name may occur once.")
    counts = Counter(row["id"] for row in index.values())
    repeated = [number for number, count in counts.items() if count > 1]
    if repeated:
        raise CellsegError(f"{path} gives several files the id {repeated[0]}; an id is one file's.")
    return index


def write_submission(
    results: Iterable[Mapping[str, Any]],
    path: str | Path,
    index: Mapping[str, Mapping[str, Any]],
    num_classes: int,
) -> Path:
    """Write the hw3 submission: `test-results.json` alone in a zip file.

    Args:
        results: COCO results of all images, image_id as in the index.
        path: The zip file.
        index: From `read_image_index`.
        num_classes: Categories run from 1 to this.

    Returns:
        The zip file.

    Raises:
        CellsegError: If a result does not fit the index, so the grader would refuse or misjudge it.
    """
    rows = list(results)
    check_submission(rows, index, num_classes)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        stamp = zipfile.ZipInfo(SUBMISSION_NAME, (2020, 1, 1, 0, 0, 0))  # same cells, same bytes
        stamp.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(stamp, _encode(rows))
    return write_atomically(path, buffer.getvalue())


def check_submission(
    results: Sequence[Mapping[str, Any]], index: Mapping[str, Mapping[str, Any]], num_classes: int
) -> None:
    """Check results against the submission's schema.

    Raises:
        CellsegError: At the first result with an unknown id or category, a wrong mask size, a score
            outside 0 to 1, a box of other than 4 numbers, or counts that are no text.
    """
    sizes = {row["id"]: [row["height"], row["width"]] for row in index.values()}
    for place, result in enumerate(results):
        size = result["segmentation"]["size"]
        reasons = {
            f"image_id {result['image_id']} is not in the index": result["image_id"] not in sizes,
            f"category_id {result['category_id']} is not 1 to {num_classes}": not 1
            <= result["category_id"]
            <= num_classes,
            f"mask size {size} is not that of the image, {sizes.get(result['image_id'])}": size
            != sizes.get(result["image_id"]),
            f"score {result['score']} is not in 0 to 1": not 0 <= result["score"] <= 1,
            "bbox does not hold 4 finite numbers": len(result["bbox"]) != 4
            or not np.isfinite(result["bbox"]).all(),
            "counts is no text": not isinstance(result["segmentation"]["counts"], str),
        }
        wrong = [reason for reason, found in reasons.items() if found]
        if wrong:
            raise CellsegError(
                f"Result {place} does not fit the submission: {wrong[0]}; predict the images "
                f"that the index lists, "
                "whole and at their own size."
            )
