"""COCO results JSON of one image and of all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cellseg.fileio import write_atomically
from cellseg.images import ImageSource
from cellseg.palette import Color
from cellseg.structures.cells import Cells


def cells_to_coco_results(cells: Cells, image_id: int) -> list[dict[str, Any]]:
    """Turn cells into COCO's results format, as pycocotools' loadRes reads it.

    Args:
        cells: Cells of one image; may be empty.
        image_id: COCO id of the image.

    Returns:
        One dict per cell: image_id, category_id (label + 1), bbox as x, y, width, height in pixels,
        score, segmentation (RLE).
    """
    boxes = cells.boxes.astype(np.float64)
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
    cells: Cells, path: str | Path, image: ImageSource | None = None, palette: Sequence[Color] = ()
) -> dict[str, Any]:
    """Write the cells of one image as a COCO results file, image_id 0.

    `join_coco_results` gives the image its id; see `cells_to_coco_results`.

    Args:
        cells: Cells of one image; may be empty.
        path: The file.
        image: Not used: the signature is that of every writer.
        palette: Not used.

    Returns:
        Nothing to note.
    """
    write_atomically(path, _encode(cells_to_coco_results(cells, 0)))
    return {}


def join_coco_results(parts: Sequence[tuple[Path, int]], path: str | Path) -> Path:
    """Join the result files of single images into one, which pycocotools' loadRes reads.

    A file whose results have another image_id, from an earlier run over other images, is put right.

    Args:
        parts: File from `write_coco_results`, and the id that its image has in this run.
        path: The joined file.

    Returns:
        The joined file.
    """

    def write(file: BinaryIO) -> None:
        file.write(b"[")
        separator = b""
        for part, image_id in parts:
            before = part.read_bytes()
            results = [{**result, "image_id": image_id} for result in json.loads(before)]
            text = _encode(results).encode()
            if text != before:
                write_atomically(part, text)
            if results:
                file.write(separator + text[1:-1])
                separator = b","
        file.write(b"]")

    return write_atomically(path, write)


def _encode(results: Sequence[Mapping[str, Any]]) -> str:
    """Turn results into compact JSON."""
    return json.dumps(results, separators=(",", ":"))
