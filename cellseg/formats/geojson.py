"""QuPath's GeoJSON: read its annotations, detections and cells; write one detection per cell.

QuPath writes such files by File > Export objects as GeoJSON, and reads them by Import objects.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.file_listing import list_files
from cellseg.fileio import write_atomically
from cellseg.formats.conversion.annotations import (
    AnnotatedImage,
    Annotation,
    Drawing,
    Loss,
    Source,
    UnusableAnnotationError,
)
from cellseg.formats.conversion.drawing import draw_polygons
from cellseg.formats.conversion.fingerprints import fingerprint_files
from cellseg.formats.conversion.image_pairs import ImagePair, pair_files
from cellseg.formats.conversion.json_files import read_json
from cellseg.formats.conversion.names import name_folder
from cellseg.formats.outlines import Polygon, outline_masks
from cellseg.formats.qupath_objects import (
    NEVER_TAKEN,
    Plane,
    check_planes,
    choose_types,
    explain_left_out,
    find_plane,
    find_type,
    name_class,
)
from cellseg.images import ImageSource, read_stored_image
from cellseg.images.kinds import SLIDE_SUFFIXES
from cellseg.palette import Color, choose_palette
from cellseg.structures.cells import Cells

IGNORED_CLASS = "Ignore*"
"""QuPath's own class for what is to be left alone."""

_ENDINGS = (".geojson", ".json")
_SLIDE_ADVICE = (
    "Whole slides are converted in tiles: run the script of docs/converters.md, 'Whole slides', in "
    "QuPath, which writes images/ and masks/, then `cellseg convert labels images/ OUT --labels "
    "masks/`."
)
_NAMESPACE = uuid.UUID("6f3f0d0e-5f0e-4b53-9a0c-3a6f8c5f9b1d")  # any fixed one; ids stay the same


def read_geojson(
    images: Path,
    annotations: Path,
    channel_order: str = "rgb",
    nuclei: bool = False,
    objects: Sequence[str] | None = None,
    plane: Plane = Plane(),  # noqa: B008 (immutable)
) -> Source:
    """Read a folder of images and one of GeoJSON files of the same names.

    Coordinates are pixels of the full-resolution image, as QuPath writes them.

    Args:
        images: Folder of images.
        annotations: Folder of `<image>.geojson`, with or without the image's suffix before it; may
            be the folder of images.
        channel_order: 'bgr' for TIFFs that store blue first.
        nuclei: Take the nucleus of a cell object in place of the whole cell.
        objects: Types of objects to take: "cell", "detection", "annotation". By default cells and
            detections where any file has some, otherwise annotations. Tiles, cores of tissue
            microarrays and root objects are never taken; objects without a type always are.
        plane: The z slice and time point to take; needed where a file has objects on several.

    Returns:
        The source; its classes are the classifications, of objects taken, in alphabetical order.
        Annotations of IGNORED_CLASS are regions to ignore whatever is taken.

    Raises:
        CellDataError: If there is no GeoJSON file.
    """
    pairs, losses = pair_files(images, annotations, _ENDINGS)
    losses = _name_slides(losses, images)
    kinds, unreadable = _find_kinds(pairs)
    if kinds and not unreadable:
        _require_cells(kinds, annotations)
    taken = choose_types(objects, {kind for kind, _ in kinds})
    found = {
        name
        for kind, name in kinds
        if kind in taken or (name == IGNORED_CLASS and kind not in NEVER_TAKEN)
    }
    converted = [
        AnnotatedImage(
            name_folder(pair.image.relative_to(images)),
            str(pair.image.absolute()),
            partial(_load, pair.image, pair.annotations, channel_order, nuclei, taken, plane),
            partial(fingerprint_files, *pair),
        )
        for pair in pairs
    ]
    ignored = frozenset({IGNORED_CLASS})
    return Source(converted, sorted(found), None, ignored, losses, unreadable)


def _find_kinds(pairs: Sequence[ImagePair]) -> tuple[set[tuple[str, str]], list[Loss]]:
    """Find the types of objects and their classes in all files; and the files that are damaged."""
    kinds: set[tuple[str, str]] = set()
    unreadable: list[Loss] = []
    for pair in pairs:
        try:
            features = read_features(pair.annotations)
            kinds |= {(find_type(feature), name_class(feature)) for feature in features}
        except CellDataError as error:  # raised again when its turn comes
            unreadable.append(Loss("image", str(pair.annotations), "", "", str(error)))
    return kinds, unreadable


def _require_cells(kinds: set[tuple[str, str]], annotations: Path) -> None:
    """Raise CellDataError where no type of object can be a cell."""
    if all(kind in NEVER_TAKEN for kind, _ in kinds):
        shown = ", ".join(sorted({NEVER_TAKEN[kind] for kind, _ in kinds}))
        raise CellDataError(
            f"{annotations}: holds no cell, only objects of the kind {shown}; export detections, "
            "cells or annotations from QuPath."
        )


def read_features(path: Path) -> list[Mapping[str, Any]]:
    """Read the features of a GeoJSON file: a collection, a list or a single feature.

    Raises:
        CellDataError: If the file is damaged or no GeoJSON.
    """
    document = read_json(path)
    features = document
    if isinstance(document, dict):
        is_collection = document.get("type") == "FeatureCollection"
        features = document.get("features") if is_collection else [document]
    is_list = isinstance(features, list)
    if not is_list or not all(
        isinstance(feature, dict) and feature.get("type") == "Feature" for feature in features
    ):
        raise CellDataError(
            f"{path}: is no GeoJSON of features; export the objects from QuPath as GeoJSON."
        )
    return features


def _load(
    image: Path,
    path: Path,
    channel_order: str,
    nuclei: bool,
    taken: frozenset[str],
    plane: Plane,
) -> tuple[NDArray[Any], list[Annotation]]:
    """Read one image and its objects."""
    annotations: list[Annotation] = []
    planes: Counter[Plane] = Counter()
    for place, feature in enumerate(read_features(path), start=1):
        name, kind = name_class(feature), find_type(feature)
        geometry = feature.get("nucleusGeometry" if nuclei else "geometry")
        left_out = explain_left_out(kind, taken)
        own = find_plane(feature)
        if not left_out or (name == IGNORED_CLASS and kind not in NEVER_TAKEN):
            planes[own] += 1
        draw = partial(_draw, geometry)
        if not plane.includes(own):
            left_out, draw = "is on another plane", partial(_refuse, "is on another plane")
        elif kind in NEVER_TAKEN:
            draw = partial(_refuse, left_out)
        annotations.append(
            Annotation(f"object {feature.get('id', place)!s:.80}", name, draw, False, left_out)
        )
    check_planes(path, planes, plane)
    return _read_image(image, channel_order), annotations


def _read_image(image: Path, channel_order: str) -> NDArray[Any]:
    """Read an image; for a whole slide, say how its cells can be converted."""
    try:
        return read_stored_image(image, channel_order)
    except CellDataError as error:
        if image.suffix.lower() not in SLIDE_SUFFIXES and "more than the limit" not in str(error):
            raise
        raise CellDataError(f"{error} {_SLIDE_ADVICE}") from error


def _name_slides(losses: list[Loss], images: Path) -> list[Loss]:
    """Say of annotations without image where these are those of a slide, what can be done."""
    slides = {
        path.stem.lower(): path.name
        for path in list_files(images)
        if path.suffix.lower() in SLIDE_SUFFIXES
    }
    named = []
    for loss in losses:
        base = Path(loss.image).name.lower().split(".")[0]
        if loss.hint or base not in slides:
            named.append(loss)
        else:
            hint = f"; {slides[base]} is a whole slide. {_SLIDE_ADVICE}"
            named.append(loss._replace(hint=hint))
    return named


def _refuse(reason: str, height: int, width: int) -> Drawing:
    """Draw nothing: not even a region to ignore comes of this object."""
    raise UnusableAnnotationError(reason)


def _join_polygons(collection: Mapping[str, Any]) -> dict[str, Any]:
    """Make a MultiPolygon of the polygons in a GeometryCollection; lines and points are no area."""
    members = collection.get("geometries")
    polygons: list[Any] = []
    for member in members if isinstance(members, list) else []:
        if isinstance(member, dict) and member.get("type") in ("Polygon", "MultiPolygon"):
            nested = member.get("coordinates")
            is_one = member["type"] == "Polygon"
            polygons += [nested] if is_one or not isinstance(nested, list) else nested
    if not polygons:
        raise UnusableAnnotationError("is a GeometryCollection, which has no area")
    return {"type": "MultiPolygon", "coordinates": polygons}


def _draw(geometry: Any, height: int, width: int) -> Drawing:
    """Draw a Polygon or MultiPolygon."""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind == "GeometryCollection":
        geometry, kind = _join_polygons(geometry), "MultiPolygon"
    if kind not in ("Polygon", "MultiPolygon"):
        shape = "has no outline" if kind is None else f"is a {kind}, which has no area"
        raise UnusableAnnotationError(shape)
    nested = geometry.get("coordinates")
    polygons = [nested] if kind == "Polygon" else nested
    lists = isinstance(polygons, list) and all(isinstance(rings, list) for rings in polygons)
    if not lists or not all(isinstance(ring, list) for rings in polygons for ring in rings):
        raise UnusableAnnotationError("outline must be a list of x, y positions")
    drawing = draw_polygons(polygons, height, width)
    if any(ring and ring[0] != ring[-1] for rings in polygons for ring in rings):
        return drawing._replace(changes=(*drawing.changes, "open outline closed"))
    return drawing


def cells_to_features(cells: Cells, palette: Sequence[Color] = ()) -> Iterator[dict[str, Any]]:
    """Turn cells into GeoJSON features as QuPath reads them (File > Import objects).

    Coordinates are pixels of the full-resolution image, which is what QuPath works in. Exteriors
    follow RFC 7946's right-hand rule. A cell of several pieces becomes a MultiPolygon.

    Args:
        cells: Cells of one image; may be empty.
        palette: One color per class; the default ones when empty.

    Yields:
        One feature per cell: geometry, class name and color, score and area as measurements.
    """
    colors = choose_palette(len(cells.class_names), palette)
    outlines = outline_masks(cells.get_masks())
    for index, (pieces, label, score) in enumerate(
        zip(outlines, cells.labels.tolist(), cells.confidences.tolist(), strict=True)
    ):
        identity = uuid.uuid5(_NAMESPACE, f"{index}:{label}:{cells.rles[index]['counts']}")
        yield {
            "type": "Feature",
            "id": str(identity),
            "geometry": _geometry(pieces, cells.downsample),
            "properties": {
                "objectType": "detection",
                "classification": {
                    "name": cells.class_names[label],
                    "color": list(colors[label]),
                },
                "measurements": {"score": round(score, 6)},
            },
        }


def write_geojson(
    cells: Cells, path: str | Path, image: ImageSource | None = None, palette: Sequence[Color] = ()
) -> dict[str, Any]:
    """Write a GeoJSON FeatureCollection, cell after cell; see `cells_to_features`.

    Args:
        cells: Cells of one image; may be empty.
        path: The file.
        image: Not used: the signature is that of every writer.
        palette: One color per class; the default ones when empty.

    Returns:
        Nothing to note.
    """

    def write(file: BinaryIO) -> None:
        encode = json.JSONEncoder(separators=(",", ":")).encode
        file.write(b'{"type":"FeatureCollection","features":[')
        separator = b"\n"
        for feature in cells_to_features(cells, palette):
            file.write(separator + encode(feature).encode())
            separator = b",\n"
        file.write(b"\n]}\n")

    write_atomically(path, write)
    return {}


def _geometry(pieces: Sequence[Polygon], downsample: float) -> dict[str, Any]:
    """Turn the pieces of a cell into a Polygon or MultiPolygon."""
    polygons = []
    for piece in pieces:
        rings = []
        for ring in (piece.exterior, *piece.holes):
            corners = (ring if downsample == 1 else ring * downsample).tolist()
            corners.append(corners[0])
            rings.append(corners)
        polygons.append(rings)
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}
