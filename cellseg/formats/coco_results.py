"""COCO results, a JSON list of predicted cells: read and check them, and write them.

Nothing is trusted: every error names the file and says what to do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pycocotools import mask as coco_mask

from cellseg.errors import CellsegError, as_cellseg_error
from cellseg.fileio import read_text, write_atomically
from cellseg.formats.prediction_set import PredictionSet, TruthImage
from cellseg.images import ImageSource
from cellseg.palette import Color
from cellseg.structures.cell_masks import CellMasks
from cellseg.structures.cells import Cells
from cellseg.structures.rle import RLE, count_covered, decode_runs

_FAR_PX = 1_000_000  # pycocotools walks along every edge, so far ones cost memory without end
_ROW_KEYS = ("image_id", "category_id", "score", "segmentation")


def read_coco_results(
    path: Path, images: Sequence[TruthImage], class_names: Sequence[str]
) -> PredictionSet:
    """Read a COCO result JSON: a list of {image_id, category_id from 1, score, segmentation}.

    Args:
        path: The file. Masks are compressed or plain RLE, or polygons.
        images: The images of the data set.
        class_names: The classes; category_id 1 is the first.

    Returns:
        The predictions. An empty list in the file means that nothing was found.

    Raises:
        CellsegError: If the file is empty, cut off or no such list, or a row does not fit.
    """
    rows = _load_rows(path)
    by_id = {image.img_id: image for image in images}
    grouped: dict[int, list[dict[str, Any]]] = {}
    for number, row in enumerate(rows):
        _check_row(path, number, row, by_id, len(class_names))
        grouped.setdefault(row["image_id"], []).append(row)
    by_image = {key: _parse_rows(path, by_id[key], group) for key, group in grouped.items()}
    absent = [image.name for image in images if image.img_id not in by_image]
    return PredictionSet(by_image, absent)


def _load_rows(path: Path) -> list[Any]:
    """Load the list of a JSON file."""
    try:
        text = read_text(path, "utf-8-sig")
    except UnicodeDecodeError as error:
        raise CellsegError(
            f"{path}: is not UTF-8 text ({error}); write it again as JSON."
        ) from error
    except OSError as error:
        raise CellsegError(f"{path}: cannot be read ({error}); check the file.") from error
    if not text.strip():
        raise CellsegError(f"{path}: is empty; write the predictions again.")
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CellsegError(
            f"{path}: is not valid JSON ({error}); it may have been cut off. Write it again."
        ) from error
    if not isinstance(rows, list):
        raise CellsegError(
            f"{path}: holds a JSON {type(rows).__name__}, not a list of COCO results "
            "{image_id, category_id, score, segmentation}."
        )
    return rows


def _check_row(
    path: Path, number: int, row: Any, by_id: Mapping[int, TruthImage], num_classes: int
) -> None:
    """Raise CellsegError for a row that is no prediction of this data set."""
    where = f"{path}: prediction {number}"
    if not isinstance(row, dict):
        raise CellsegError(f"{where} is not an object with {', '.join(_ROW_KEYS)}.")
    missing = [key for key in _ROW_KEYS if key not in row]
    if missing == ["segmentation"]:
        raise CellsegError(
            f"{where} has no mask (segmentation); give the .segm.json, not the .bbox.json."
        )
    if missing:
        raise CellsegError(f"{where} lacks {', '.join(missing)}.")
    image_id, category_id, score = (row[key] for key in _ROW_KEYS[:3])
    if type(image_id) is not int or image_id not in by_id:
        raise CellsegError(
            f"{where} is of image_id {image_id!r:.80}, which is not among the {len(by_id)} images "
            f"of this data set (ids {min(by_id, default=0)} to {max(by_id, default=0)}). Evaluate "
            "it against the data and split that it was made for."
        )
    if type(category_id) is not int or not 1 <= category_id <= num_classes:
        raise CellsegError(
            f"{where} has category_id {category_id!r:.80}; the classes are 1 to {num_classes}."
        )
    if type(score) not in (int, float) or not abs(score) <= sys.float_info.max:
        raise CellsegError(f"{where} has the score {score!r:.40}; it must be a finite number.")


def _parse_rows(path: Path, image: TruthImage, rows: Sequence[dict[str, Any]]) -> Cells:
    """Parse the rows of one image."""
    rles = [_parse_mask(path, image, row["segmentation"]) for row in rows]
    masks = _check_masks(path, image, rles)
    return Cells(
        masks.measure()[0].astype(np.float32),
        np.array([row["score"] for row in rows], dtype=np.float64),
        np.array([row["category_id"] - 1 for row in rows], dtype=np.int64),
        masks,
        image.height,
        image.width,
        image.cells.class_names,
    )


def _parse_mask(path: Path, image: TruthImage, mask: Any) -> RLE:
    """Bring a mask of any COCO kind to an RLE with text counts."""
    size = [image.height, image.width]
    where = f"{path}: a mask of image {image.name} (id {image.img_id})"
    if not _is_plain_mask(mask):
        raise CellsegError(
            f"{where} is neither RLE nor polygons; write it as {{size, counts}} or as lists of "
            "x, y, x, y, ... in pixels of the image."
        )
    if isinstance(mask, dict):
        if mask["size"] != size:
            raise CellsegError(
                f"{where} has size {mask['size']!s:.80}, but the image has {size} (height, width); "
                "predictions must be in the coordinates of the original image."
            )
        if isinstance(mask["counts"], str):
            return RLE(size=size, counts=mask["counts"])
        if sum(mask["counts"]) != image.height * image.width:
            raise CellsegError(
                f"{where} is damaged: its counts sum up to {sum(mask['counts']):,}, not to the "
                f"{image.height * image.width:,} pixels of the image; write the file again."
            )
    elif any(abs(value) > _FAR_PX for polygon in mask for value in polygon):
        raise CellsegError(
            f"{where} has a polygon more than {_FAR_PX:,} px away; predictions must be in the "
            "coordinates of the original image."
        )
    parts = coco_mask.frPyObjects(mask, *size)
    rle = coco_mask.merge(parts) if isinstance(parts, list) else parts
    return RLE(size=size, counts=rle["counts"].decode("ascii"))


def _is_plain_mask(mask: Any) -> bool:
    """Return whether a mask is an RLE or polygons by its form; pycocotools crashes on others."""
    if isinstance(mask, list):
        return bool(mask) and all(
            isinstance(polygon, list)
            and len(polygon) >= 6
            and len(polygon) % 2 == 0
            and all(type(value) in (int, float) and value == value for value in polygon)
            for polygon in mask
        )
    if not isinstance(mask, dict) or not isinstance(mask.get("size"), list):
        return False
    counts = mask.get("counts")
    if isinstance(counts, str):
        return bool(counts)
    return isinstance(counts, list) and all(type(n) is int and 0 <= n < 2**32 for n in counts)


def _check_masks(path: Path, image: TruthImage, rles: Sequence[RLE]) -> CellMasks:
    """Decode masks; raise CellsegError for counts that are damaged."""
    with as_cellseg_error(where=f"{path}: an RLE of image {image.name} is damaged: "):
        runs = decode_runs(rles)
    follows = (runs.starts[1:] >= runs.ends[:-1]) | (runs.owners[1:] != runs.owners[:-1])
    inside = (runs.starts >= 0) & (runs.ends <= image.height * image.width)
    whole = count_covered(rles) == image.height * image.width
    if not (inside.all() and follows.all() and whole.all()):
        raise CellsegError(
            f"{path}: an RLE of image {image.name} is damaged, or not of {image.height} x "
            f"{image.width} pixels (height x width); write the file again."
        )
    return CellMasks(image.height, image.width, rles=rles, runs=runs)


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

    Raises:
        CellsegError: If a file does not hold results.
    """

    def write(file: BinaryIO) -> None:
        file.write(b"[")
        separator = b""
        for part, image_id in parts:
            before = part.read_bytes()
            try:
                results = [{**result, "image_id": image_id} for result in json.loads(before)]
                text = _encode(results).encode()
            except (ValueError, TypeError, RecursionError) as error:
                raise CellsegError(
                    f"{part}: cannot be read as the results of an image ({error!s:.200}); remove "
                    "the file and run the same command again."
                ) from error
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
