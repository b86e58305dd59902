"""QuPath's GeoJSON: annotations, detections and cells (File > Export objects as GeoJSON)."""

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
    Source,
    UnusableAnnotationError,
)
from cellseg.formats.conversion.drawing import draw_polygons
from cellseg.formats.conversion.fingerprints import fingerprint_files
from cellseg.formats.conversion.image_pairs import pair_files
from cellseg.formats.conversion.json_files import read_json
from cellseg.formats.conversion.names import name_folder
from cellseg.images import read_stored_image

UNCLASSIFIED = "unclassified"
"""Class of objects that have none."""

IGNORED_CLASS = "Ignore*"
"""QuPath's own class for what is to be left alone."""

_ENDINGS = (".geojson", ".json")


def read_qupath(
    images: Path, annotations: Path, channel_order: str = "rgb", nuclei: bool = False
) -> Source:
    """Read a folder of images and one of GeoJSON files of the same names.

    Coordinates are pixels of the full-resolution image, as QuPath writes them.

    Args:
        images: Folder of images.
        annotations: Folder of `<image>.geojson`, with or without the image's suffix before it; may
            be the folder of images.
        channel_order: 'bgr' for TIFFs that store blue first.
        nuclei: Take the nucleus of a cell object in place of the whole cell.

    Returns:
        The source; its classes are the classifications in alphabetical order.

    Raises:
        CellDataError: If there is no GeoJSON file.
    """
    pairs, losses = pair_files(images, annotations, _ENDINGS)
    found: set[str] = set()
    for pair in pairs:
        try:
            found |= {_name_class(feature) for feature in read_features(pair.annotations)}
        except CellDataError:
            continue  # says so again, when its turn comes
    converted = [
        AnnotatedImage(
            name_folder(pair.image.relative_to(images)),
            str(pair.image.absolute()),
            partial(_load, pair.image, pair.annotations, channel_order, nuclei),
            partial(fingerprint_files, *pair),
        )
        for pair in pairs
    ]
    return Source(converted, sorted(found), None, frozenset({IGNORED_CLASS}), losses)


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


def _name_class(feature: Mapping[str, Any]) -> str:
    """Return an object's classification; derived ones, as QuPath shows them, joined by ': '."""
    properties = feature.get("properties")
    classification = properties.get("classification") if isinstance(properties, dict) else None
    if isinstance(classification, str):
        return classification or UNCLASSIFIED
    if not isinstance(classification, dict):
        return UNCLASSIFIED
    names = classification.get("names")
    joined = ": ".join(map(str, names)) if isinstance(names, list) else ""
    return str(classification.get("name") or joined or UNCLASSIFIED)


def _load(
    image: Path, path: Path, channel_order: str, nuclei: bool
) -> tuple[NDArray[Any], list[Annotation]]:
    """Read one image and its objects."""
    geometry_key = "nucleusGeometry" if nuclei else "geometry"
    annotations = [
        Annotation(
            f"object {feature.get('id', place)}",
            _name_class(feature),
            partial(_draw, feature.get(geometry_key)),
        )
        for place, feature in enumerate(read_features(path), start=1)
    ]
    return read_stored_image(image, channel_order), annotations


def _draw(geometry: Any, height: int, width: int) -> Drawing:
    """Draw a Polygon or MultiPolygon."""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        shape = "has no outline" if kind is None else f"is a {kind}, which has no area"
        raise UnusableAnnotationError(shape)
    nested = geometry.get("coordinates")
    polygons = [nested] if kind == "Polygon" else nested
    lists = isinstance(polygons, list) and all(isinstance(rings, list) for rings in polygons)
    if not lists or not all(isinstance(ring, list) for rings in polygons for ring in rings):
        raise UnusableAnnotationError("outline is no list of x, y positions")
    drawing = draw_polygons(polygons, height, width)
    if any(ring and ring[0] != ring[-1] for rings in polygons for ring in rings):
        return drawing._replace(changes=(*drawing.changes, "open outline closed"))
    return drawing
