"""COCO instance annotations: polygons, run-length encodings and crowds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.formats.conversion.annotations import (
    AnnotatedImage,
    Annotation,
    Drawing,
    Loss,
    Source,
    UnusableAnnotationError,
)
from cellseg.formats.conversion.drawing import draw_polygons, draw_rle
from cellseg.formats.conversion.fingerprints import fingerprint_files
from cellseg.formats.conversion.json_files import read_json
from cellseg.formats.conversion.names import find_inside, name_folder
from cellseg.images import read_stored_image

_PARTS = ("images", "annotations", "categories")


def read_coco(path: Path, images: Path, channel_order: str = "rgb") -> Source:
    """Read a COCO file of instance annotations.

    Crowds, and annotations with a true `ignore`, are regions to ignore.

    Args:
        path: JSON with `images`, `annotations` and `categories`.
        images: Folder that the `file_name`s are relative to.
        channel_order: 'bgr' for TIFFs that store blue first.

    Returns:
        The source; its classes are the categories in the order of their ids.

    Raises:
        CellDataError: If the JSON is damaged, no COCO file, or names a file outside the folder.
    """
    document = read_json(path)
    try:
        if not all(isinstance(document[key], list) for key in _PARTS):
            raise TypeError("a part is no list")
        categories = {
            int(row["id"]): str(row["name"])
            for row in sorted(document["categories"], key=lambda row: int(row["id"]))
        }
        rows = {int(row["id"]): row for row in document["images"]}
        files = {key: find_inside(images, str(row["file_name"]), path) for key, row in rows.items()}
        repeated = len(rows) < len(document["images"])
        grouped, losses = _group(document["annotations"], rows.keys())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, CellDataError):
            raise
        raise CellDataError(
            f"{path}: is not a whole COCO file ({error!r}); it must hold lists of images (id, "
            "file_name, height, width), annotations (image_id, category_id, segmentation) and "
            "categories (id, name)."
        ) from error
    if repeated:
        raise CellDataError(f"{path}: an image id occurs twice; give each image its own.")
    for own in grouped.values():
        for annotation in own:
            annotation["class_name"] = _name_category(annotation.get("category_id"), categories)
    used = {row["class_name"] for own in grouped.values() for row in own if not _is_crowd(row)}
    missing = [key for key, file in files.items() if not file.is_file()]
    losses += [Loss("image", str(files[key]), "", "", "the image is missing") for key in missing]
    for key in missing:
        del files[key]
    names = list(dict.fromkeys(categories.values()))
    found = [name for name in names if name in used] + sorted(used.difference(names))
    converted = [
        AnnotatedImage(
            name_folder(file.relative_to(images)),
            str(file.absolute()),
            partial(_load, file, rows[key], grouped[key], channel_order),
            partial(fingerprint_files, file, details=[rows[key], grouped[key]]),
        )
        for key, file in files.items()
    ]
    return Source(converted, found, names, losses=losses)


def _group(
    annotations: list[dict[str, Any]], image_ids: Any
) -> tuple[dict[int, list[dict[str, Any]]], list[Loss]]:
    """Group annotations by image; those of no listed image are losses."""
    grouped: dict[int, list[dict[str, Any]]] = {key: [] for key in image_ids}
    losses = []
    for place, annotation in enumerate(annotations, start=1):
        image_id = int(annotation["image_id"])
        row = dict(annotation)
        row["label"] = f"annotation {annotation.get('id', f'number {place}')}"
        if image_id in grouped:
            grouped[image_id].append(row)
        else:
            reason = "its image is not listed"
            losses.append(Loss("cell", f"image {image_id}", row["label"], "", reason))
    return grouped, losses


def _name_category(category_id: Any, categories: Mapping[int, str]) -> str:
    """Return a category's name, or one that says that there is none."""
    known = isinstance(category_id, int) and category_id in categories
    return categories[category_id] if known else f"category {category_id}"


def _is_crowd(annotation: Mapping[str, Any]) -> bool:
    """Tell whether an annotation is a region to ignore."""
    return bool(annotation.get("iscrowd")) or bool(annotation.get("ignore"))


def _load(
    file: Path, row: Mapping[str, Any], own: list[dict[str, Any]], channel_order: str
) -> tuple[NDArray[Any], list[Annotation]]:
    """Read an image, check the size that the COCO file says it has, and list its annotations."""
    pixels = read_stored_image(file, channel_order)
    height, width = pixels.shape[:2]
    declared = row.get("height", height), row.get("width", width)
    if declared != (height, width):
        raise CellDataError(
            f"{file}: is {height} x {width} pixels but the COCO file says {declared[0]} x "
            f"{declared[1]}; give the images that were annotated, at their own size."
        )
    annotations = [
        Annotation(
            annotation["label"],
            annotation["class_name"],
            partial(_draw, annotation.get("segmentation")),
            _is_crowd(annotation),
        )
        for annotation in own
    ]
    return pixels, annotations


def _draw(segmentation: Any, height: int, width: int) -> Drawing:
    """Draw a segmentation: a run-length encoding, or a list of polygons x1, y1, x2, y2, ..."""
    if isinstance(segmentation, dict):
        return draw_rle(segmentation, height, width)
    if not isinstance(segmentation, list) or not segmentation:
        raise UnusableAnnotationError("has no mask, only a box")
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    if any(not isinstance(polygon, list) or len(polygon) % 2 for polygon in polygons):
        raise UnusableAnnotationError("outline is no list of x, y positions")
    rings = [list(zip(polygon[::2], polygon[1::2], strict=True)) for polygon in polygons]
    return draw_polygons([[ring] for ring in rings], height, width)
