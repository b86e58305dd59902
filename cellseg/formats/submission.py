"""The submission of the MoNuSAC homework, made of the COCO results of `predict`."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cellseg.errors import CellsegError
from cellseg.fileio import read_text, write_atomically

BoxFormat = Literal["xywh", "xyxy"]
RESULTS_NAME = "test-results.json"
"""Name of the file inside the zip file."""
NUM_CLASSES = 4
"""Epithelial cells, lymphocytes, neutrophils and macrophages."""

_INDEX_KEYS = ("id", "height", "width")


def read_image_index(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read `test_image_name_to_ids.json`: file name to its row (file_name, id, height, width).

    Raises:
        CellsegError: If the file is missing, holds something else, or names a file or id twice.
    """
    path = Path(path)
    try:
        rows = json.loads(read_text(path))
        index = {
            str(row["file_name"]): {
                "file_name": str(row["file_name"]),
                **{key: int(row[key]) for key in _INDEX_KEYS},
            }
            for row in rows
        }
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CellsegError(
            f"{path} cannot be read as an index of test images ({error}); it must be a JSON list "
            "of rows with file_name, id, height and width."
        ) from error
    if len(index) != len(rows):
        raise CellsegError(f"{path} names a file twice; each file_name may occur once.")
    counts = Counter(row["id"] for row in index.values())
    repeated = [number for number, count in counts.items() if count > 1]
    if repeated:
        raise CellsegError(f"{path} gives several files the id {repeated[0]}; an id is one file's.")
    return index


def renumber_results(
    results: Sequence[Mapping[str, Any]],
    images: Sequence[Mapping[str, Any]],
    index: Mapping[str, Mapping[str, Any]],
    box_format: BoxFormat = "xywh",
) -> list[dict[str, Any]]:
    """Give COCO results the image ids of a test index.

    Args:
        results: Rows of coco_results.json, bbox as x, y, width, height in pixels.
        images: Rows of coco_images.json: id, file_name, height, width. Their ids are those of
            `results`; the name without its folder is looked up in the index.
        index: From `read_image_index`.
        box_format: Boxes of what is returned: "xywh", or corners "xyxy".

    Returns:
        The results in their order, image_id as in the index; empty without results.

    Raises:
        CellsegError: If an image is not in the index, has another size there, or is given twice.
    """
    ids: dict[int, int] = {}
    for image in images:
        row = index.get(Path(image["file_name"]).name)
        if row is None:
            raise CellsegError(
                f"{image['file_name']} is not in the index of test images, so it has no id to "
                "submit; predict the test images into a folder of their own."
            )
        if (row["height"], row["width"]) != (image["height"], image["width"]):
            raise CellsegError(
                f"{image['file_name']} is {image['height']} x {image['width']} pixels, but the "
                f"index says {row['height']} x {row['width']}; predict the test images as they "
                "were given, without --mpp."
            )
        if row["id"] in ids.values():
            raise CellsegError(
                f"Two predicted images are named {row['file_name']}, the second is "
                f"{image['file_name']}; predict only the test images."
            )
        ids[image["id"]] = row["id"]
    return [
        {**row, "image_id": ids.get(row["image_id"]), "bbox": _convert_box(row["bbox"], box_format)}
        for row in results
    ]


def write_submission(
    results: Sequence[Mapping[str, Any]],
    path: str | Path,
    index: Mapping[str, Mapping[str, Any]],
) -> Path:
    """Write a submission: `test-results.json` alone in a zip file.

    Args:
        results: COCO results of all images, image_id as in the index.
        path: The zip file; the same results give the same bytes.
        index: From `read_image_index`.

    Returns:
        The zip file.

    Raises:
        CellsegError: If a result does not fit the index, so the grader would refuse or misread it.
    """
    check_submission(results, index)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(RESULTS_NAME, (2020, 1, 1, 0, 0, 0))  # same cells, same bytes
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, json.dumps(list(results), separators=(",", ":")))
    return write_atomically(path, buffer.getvalue())


def check_submission(
    results: Sequence[Mapping[str, Any]], index: Mapping[str, Mapping[str, Any]]
) -> None:
    """Check results against the submission's schema.

    Raises:
        CellsegError: At the first result with an unknown id or category, a wrong mask size, a score
            outside 0 to 1, a box of other than 4 numbers, or counts that are not text.
    """
    sizes = {row["id"]: [row["height"], row["width"]] for row in index.values()}
    for place, result in enumerate(results):
        reason = _find_fault(result, sizes)
        if reason:
            raise CellsegError(
                f"Result {place} does not fit the submission: {reason}; predict the images that "
                "the index lists, whole and at their own size."
            )


def make_submission(
    folder: Path, index_path: Path, path: Path, box_format: BoxFormat = "xywh"
) -> int:
    """Make a submission of what `predict --format coco` wrote.

    Args:
        folder: Holds coco_results.json and coco_images.json.
        index_path: test_image_name_to_ids.json.
        path: The zip file to write.
        box_format: Boxes in the submission.

    Returns:
        How many images of the index have no prediction.

    Raises:
        CellsegError: If a file is missing or damaged, no image was predicted, or the results do not
            fit the index; a zip file of an earlier run is kept.
    """
    index = read_image_index(index_path)
    results, images = (_read_rows(folder / f"coco_{kind}.json") for kind in ("results", "images"))
    if not images:
        raise CellsegError(f"{path} is not written, because {folder} holds no predicted image.")
    try:
        write_submission(renumber_results(results, images, index, box_format), path, index)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CellsegError(
            f"{folder} holds damaged results ({error!r}); remove them and predict again with "
            "--format coco."
        ) from error
    return len(index) - len(images)


def _read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSON list that `predict --format coco` wrote."""
    try:
        rows = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise CellsegError(
            f"{path} cannot be read ({error}); predict the test images with --format coco."
        ) from error
    if not isinstance(rows, list):
        raise CellsegError(f"{path} is not a list; predict the test images with --format coco.")
    return rows


def _convert_box(box: Sequence[float], box_format: BoxFormat) -> list[float]:
    """Turn x, y, width, height, which have two decimals, into corners if these are wanted."""
    if box_format == "xywh":
        return list(box)
    x, y, width, height = box
    return [x, y, round(x + width, 2), round(y + height, 2)]


def _find_fault(result: Mapping[str, Any], sizes: Mapping[int, list[int]]) -> str | None:
    """Return the first reason why the grader would refuse or misread a result."""
    image_id, category_id, score = (result[key] for key in ("image_id", "category_id", "score"))
    if image_id not in sizes:
        return f"image_id {image_id} is not in the index"
    if not 1 <= category_id <= NUM_CLASSES:
        return f"category_id {category_id} is not 1 to {NUM_CLASSES}"
    if result["segmentation"]["size"] != sizes[image_id]:
        size = result["segmentation"]["size"]
        return f"mask size {size} is not that of the image, {sizes[image_id]}"
    if not 0 <= score <= 1:
        return f"score {score} is not in 0 to 1"
    if len(result["bbox"]) != 4 or not np.isfinite(result["bbox"]).all():
        return "bbox does not hold 4 finite numbers"
    if not isinstance(result["segmentation"]["counts"], str):
        return "counts is not text"
    return None
