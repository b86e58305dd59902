"""COCO data sets, images with instance annotations: read them, and write data sets as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.file_listing import list_files
from cellseg.formats.coco_values import CocoId, read_flag, read_id, read_size, sort_key
from cellseg.formats.conversion.annotations import (
    AnnotatedImage,
    Annotation,
    Drawing,
    Loss,
    Source,
    UnusableAnnotationError,
)
from cellseg.formats.conversion.drawing import Ring, draw_polygons, draw_rle
from cellseg.formats.conversion.fingerprints import fingerprint_files
from cellseg.formats.conversion.image_pairs import find_nearest
from cellseg.formats.conversion.json_files import read_json
from cellseg.formats.conversion.names import find_inside, name_folder
from cellseg.formats.conversion.ring_batches import RingBatches
from cellseg.images import read_stored_image

_PARTS = ("images", "annotations", "categories")
_MANY_CROWDS = 3
_MOST_HINTS = 100  # each takes a comparison with every file that is there


class _Parts(NamedTuple):
    """The parts of a COCO file: rows, files and annotations by image id, names by category id."""

    rows: dict[CocoId, dict[str, Any]]
    files: dict[CocoId, Path]
    categories: dict[CocoId, str]
    parents: list[str]
    annotations: dict[CocoId, list[dict[str, Any]]]
    losses: list[Loss]


def read_coco(
    path: Path, images: Path, channel_order: str = "rgb", crowds_as_cells: bool = False
) -> Source:
    """Read a COCO file of instance annotations.

    Crowds, and annotations with a true `ignore`, are regions to ignore. Ids may be numbers or text.

    Args:
        path: JSON with `images`, `annotations` and `categories`.
        images: Folder that the `file_name`s are relative to.
        channel_order: 'bgr' for TIFFs that store blue first.
        crowds_as_cells: Take annotations with `iscrowd` as cells, too.

    Returns:
        The source; its classes are the categories in the order of their ids.

    Raises:
        CellDataError: If the JSON is damaged, no COCO file, ambiguous, or names a file outside the
            folder.
    """
    rows, files, categories, parents, grouped, losses = _read_parts(path, images, crowds_as_cells)
    _drop_repeated_files(files, grouped, path)
    for own in grouped.values():
        for annotation in own:
            annotation["class_name"] = _name_category(annotation.get("category_id"), categories)
    used = {row["class_name"] for own in grouped.values() for row in own if not row["is_ignored"]}
    losses += _warn_of_crowds(grouped, path)
    losses += _warn_of_parents(list(categories.values()), used, parents, path)
    missing = [key for key, file in files.items() if not file.is_file()]
    losses += _list_missing([files[key] for key in missing], images)
    for key in missing:
        del files[key]
    names = list(dict.fromkeys(categories.values()))
    found = [name for name in names if name in used] + sorted(used.difference(names))
    converted = [
        AnnotatedImage(
            name_folder(file.relative_to(images)),
            str(file.absolute()),
            partial(_load, file, rows[key], grouped[key], channel_order),
            partial(fingerprint_files, file, details=[rows[key], _as_written(grouped[key])]),
        )
        for key, file in files.items()
    ]
    return Source(converted, found, names, losses=losses)


def _read_parts(path: Path, images: Path, crowds_as_cells: bool) -> _Parts:
    """Read the three parts of a COCO file; raise CellDataError where one is not as it must be."""
    document = read_json(path)
    try:
        if not all(isinstance(document[key], list) for key in _PARTS):
            raise TypeError("a part must be a list")
        categories = _read_categories(document["categories"], path)
        rows = {read_id(row["id"], f"{path}: the image id"): row for row in document["images"]}
        files = {key: find_inside(images, str(row["file_name"]), path) for key, row in rows.items()}
        grouped, losses = _group(document["annotations"], rows.keys(), path, crowds_as_cells)
        parents = [str(row.get("supercategory")) for row in document["categories"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, CellDataError):
            raise
        raise CellDataError(
            f"{path}: is not a whole COCO file ({error!r:.200}); it must hold lists of images (id, "
            "file_name, height, width), annotations (image_id, category_id, segmentation) and "
            "categories (id, name)."
        ) from error
    if len(rows) < len(document["images"]):
        raise CellDataError(f"{path}: an image id occurs twice; give each image its own.")
    return _Parts(rows, files, categories, parents, grouped, losses)


def _group(
    annotations: list[dict[str, Any]],
    image_ids: Iterable[CocoId],
    path: Path,
    crowds_as_cells: bool,
) -> tuple[dict[CocoId, list[dict[str, Any]]], list[Loss]]:
    """Group annotations by image; those of no listed image are losses."""
    grouped: dict[CocoId, list[dict[str, Any]]] = {key: [] for key in image_ids}
    losses = []
    for place, annotation in enumerate(annotations, start=1):
        row = dict(annotation)
        row["label"] = f"annotation {annotation.get('id', f'number {place}')!s:.80}"
        what = f"{path}: {row['label']}:"
        image_id = read_id(annotation["image_id"], f"{what} image_id")
        row["is_crowd"] = read_flag(row.get("iscrowd"), f"{what} iscrowd")
        is_ignored = read_flag(row.get("ignore"), f"{what} ignore")
        row["is_ignored"] = is_ignored or (row["is_crowd"] and not crowds_as_cells)
        if image_id in grouped:
            grouped[image_id].append(row)
        else:
            reason = "its image is not listed"
            losses.append(Loss("cell", f"image {image_id}", row["label"], "", reason))
    return grouped, losses


def _as_written(own: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return annotations without what was read of their flags, for the fingerprint."""
    added = ("is_crowd", "is_ignored")
    return [{key: value for key, value in row.items() if key not in added} for row in own]


def _name_category(category_id: Any, categories: Mapping[CocoId, str]) -> str:
    """Return a category's name, or one that says that there is none."""
    try:
        return categories[read_id(category_id, "")]
    except (CellDataError, KeyError):
        return f"category {category_id!s:.80}"


def _read_categories(rows: list[dict[str, Any]], path: Path) -> dict[CocoId, str]:
    """Read the categories in the order of their ids; raise CellDataError for an id of two."""
    found: dict[CocoId, str] = {}
    for row in rows:
        key, name = read_id(row["id"], f"{path}: the category id"), row["name"]
        if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
            raise CellDataError(f"{path}: the category id {key!s:.80} has no name; give it one.")
        name = str(name).strip()
        if found.setdefault(key, name) != name:
            raise CellDataError(
                f"{path}: the category id {key!s:.80} stands for {found[key]:.80} and for "
                f"{name:.80}; give each category its own."
            )
    return {key: found[key] for key in sorted(found, key=sort_key)}


def _drop_repeated_files(
    files: dict[CocoId, Path], grouped: dict[CocoId, list[dict[str, Any]]], path: Path
) -> None:
    """Keep one of the rows of a file that is listed twice: the one that has annotations.

    Raises:
        CellDataError: If several of them have.
    """
    by_file: dict[Path, list[CocoId]] = {}
    for key, file in files.items():
        by_file.setdefault(file, []).append(key)
    for file, keys in by_file.items():
        annotated = [key for key in keys if grouped[key]]
        if len(annotated) > 1:
            raise CellDataError(
                f"{path}: lists {file} {len(keys)} times with annotations (image ids "
                f"{', '.join(map(str, annotated))}); keep one row of it and its annotations."
            )
        for key in keys:
            if key != (annotated or keys)[0]:
                del files[key]


def _list_missing(missing: list[Path], images: Path) -> list[Loss]:
    """List the images that are not there, each with the nearest name of one that is."""
    others = [file.name for file in list_files(images)] if missing else []
    losses = []
    for place, file in enumerate(missing):
        near = find_nearest(file.name, others) if place < _MOST_HINTS else ""
        hint = f"; the nearest is {near}" if near else ""
        losses.append(Loss("image", str(file), "", "", "the image is missing", hint=hint))
    return losses


def _warn_of_crowds(grouped: Mapping[CocoId, list[dict[str, Any]]], path: Path) -> list[Loss]:
    """Warn where every run-length encoding is a crowd, and most likely a cell."""
    rows = [row for own in grouped.values() for row in own]
    encoded = [row for row in rows if isinstance(row.get("segmentation"), dict)]
    if not encoded or not all(row["is_crowd"] and row["is_ignored"] for row in encoded):
        return []
    most = max(
        max(
            Counter(str(row.get("category_id")) for row in own if row["is_crowd"]).values(),
            default=0,
        )
        for own in grouped.values()
    )
    if len(encoded) < len(rows) and most < _MANY_CROWDS:
        return []  # as in COCO itself, where a few crowds are beside the polygons
    reason = (
        f"all {len(encoded)} run-length encodings have iscrowd=1 and become regions to ignore; if "
        "they are cells, as some tools write their masks, add --crowds-as-cells"
    )
    return [Loss("warning", str(path), "", "", reason)]


def _warn_of_parents(
    names: list[str], used: set[str], parents: list[str], path: Path
) -> list[Loss]:
    """Warn of a category without annotations that is only the parent of others."""
    are_parents = set(parents)
    idle = dict.fromkeys(name for name in names if name in are_parents and name not in used)
    others = dict.fromkeys(name for name in names if name not in idle)
    if not idle or not others:
        return []
    reason = (
        f"the category {', '.join(idle)} has no annotation and is only the parent of others, as "
        f"Roboflow writes it; --classes {' '.join(_quote(name) for name in others)} leaves it out"
    )
    return [Loss("warning", str(path), "", "", reason)]


def _quote(name: str) -> str:
    """Quote a name with blanks for a command line."""
    return f'"{name}"' if " " in name else name


def _load(
    file: Path, row: Mapping[str, Any], own: list[dict[str, Any]], channel_order: str
) -> tuple[NDArray[Any], list[Annotation]]:
    """Read an image, check the size that the COCO file says it has, and list its annotations."""
    pixels = read_stored_image(file, channel_order)
    height, width = pixels.shape[:2]
    sizes = (row.get("height"), height), (row.get("width"), width)
    declared = tuple(size if given is None else read_size(given) for given, size in sizes)
    if declared != (height, width):
        raise CellDataError(
            f"{file}: is {height} x {width} pixels but the COCO file says "
            f"{declared[0]!s:.40} x {declared[1]!s:.40}; give the images "
            "that were annotated, at their own size."
        )
    batches = RingBatches([row.get("segmentation") for row in own], _find_ring, _draw)
    annotations = [
        Annotation(
            annotation["label"],
            annotation["class_name"],
            partial(batches.draw, place),
            annotation["is_ignored"],
        )
        for place, annotation in enumerate(own)
    ]
    return pixels, annotations


def _draw(segmentation: Any, height: int, width: int) -> Drawing:
    """Draw a segmentation: a run-length encoding, or a list of polygons x1, y1, x2, y2, ..."""
    if isinstance(segmentation, dict):
        return draw_rle(segmentation, height, width)
    return draw_polygons([[ring] for ring in _read_rings(segmentation)], height, width)


def _find_ring(segmentation: Any) -> Ring | None:
    """Return the ring of a segmentation that is a single polygon; None for others."""
    rings = [] if isinstance(segmentation, dict) else _read_rings(segmentation)
    return rings[0] if len(rings) == 1 else None


def _read_rings(segmentation: Any) -> list[Ring]:
    """Read the polygons of a segmentation; raise UnusableAnnotationError if there are none."""
    if not isinstance(segmentation, list) or not segmentation:
        raise UnusableAnnotationError("has no mask, only a box")
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    if any(not isinstance(polygon, list) or len(polygon) % 2 for polygon in polygons):
        raise UnusableAnnotationError("outline must be a list of x, y positions")
    return [list(zip(polygon[::2], polygon[1::2], strict=True)) for polygon in polygons]


def to_coco(data_list: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """Write data set entries as one COCO data set.

    Args:
        data_list: Entries with `img_id`, `file_name`, `height`, `width` and `instances`.
        classes: Class names; category ids are 1, 2, ... in this order.

    Returns:
        COCO dict of `images`, `annotations` (RLE masks) and `categories`. A region to ignore
        becomes one crowd annotation a class, since it belongs to none.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for entry in data_list:
        keys = ("file_name", "height", "width")
        images.append({"id": entry["img_id"], **{key: entry[key] for key in keys}})
        for instance in entry["instances"]:
            is_ignored = bool(instance["ignore_flag"])
            labels = range(len(classes)) if is_ignored else [instance["bbox_label"]]
            for label in labels:
                annotation = _to_annotation(instance, is_ignored)
                annotation |= {
                    "id": len(annotations) + 1,
                    "image_id": entry["img_id"],
                    "category_id": label + 1,
                }
                annotations.append(annotation)
    categories = [{"id": k, "name": name} for k, name in enumerate(classes, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _to_annotation(instance: Mapping[str, Any], is_ignored: bool) -> dict[str, Any]:
    """Return the part of a COCO annotation that does not depend on its class."""
    x1, y1, x2, y2 = instance["bbox"]
    return {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": instance["area"],
        "segmentation": instance["mask"],
        "iscrowd": int(is_ignored),
    }
