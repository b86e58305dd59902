"""QuPath's GeoJSON: annotations, detections and cells (File > Export objects as GeoJSON)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.file_listing import list_files
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
from cellseg.formats.conversion.image_pairs import pair_files
from cellseg.formats.conversion.json_files import read_json
from cellseg.formats.conversion.names import name_folder
from cellseg.images import read_stored_image
from cellseg.images.kinds import SLIDE_SUFFIXES

UNCLASSIFIED = "unclassified"
"""Class of objects that have none."""

IGNORED_CLASS = "Ignore*"
"""QuPath's own class for what is to be left alone."""

OBJECT_TYPES = ("cell", "detection", "annotation")
"""Types of QuPath's objects that can be cells."""

_NEVER_TAKEN = {"tmacore": "core of a tissue microarray", "tile": "tile", "root": "root object"}
_ENDINGS = (".geojson", ".json")
_SLIDE_ADVICE = (
    "Whole slides are converted in tiles: run the script of docs/converters.md, 'Whole slides', in "
    "QuPath, which writes images/ and masks/, then `cellseg convert labels images/ OUT --labels "
    "masks/`."
)


class Plane(NamedTuple):
    """A z slice and time point, counted from 0; None stands for any."""

    z: int | None = None
    t: int | None = None

    def includes(self, other: Plane) -> bool:
        """Return whether another plane is among those that this one stands for."""
        return self.z in (None, other.z) and self.t in (None, other.t)


def read_qupath(
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
        objects: Types of objects to take, of OBJECT_TYPES. By default cells and detections where
            any file has some, otherwise annotations. Tiles, cores of tissue microarrays and root
            objects are never taken; objects whose type is not given always are.
        plane: The z slice and time point to take; needed where a file has objects on several.

    Returns:
        The source; its classes are the classifications, of objects taken, in alphabetical order.
        Annotations of IGNORED_CLASS are regions to ignore whatever is taken.

    Raises:
        CellDataError: If there is no GeoJSON file.
    """
    pairs, losses = pair_files(images, annotations, _ENDINGS)
    losses = _name_slides(losses, images)
    kinds: set[tuple[str, str]] = set()
    unreadable: list[Loss] = []
    for pair in pairs:
        try:
            features = read_features(pair.annotations)
            kinds |= {(_find_type(feature), _name_class(feature)) for feature in features}
        except CellDataError as error:  # raised again when its turn comes
            unreadable.append(Loss("image", str(pair.annotations), "", "", str(error)))
    taken = _choose_types(objects, {kind for kind, _ in kinds})
    found = {
        name
        for kind, name in kinds
        if kind in taken or (name == IGNORED_CLASS and kind not in _NEVER_TAKEN)
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


def _find_type(feature: Mapping[str, Any]) -> str:
    """Return an object's type in lower-case letters; empty where it is not given.

    QuPath 0.2 wrote it as the id: 'PathDetectionObject'.
    """
    properties = feature.get("properties")
    given = properties.get("objectType") if isinstance(properties, dict) else None
    if not isinstance(given, str):
        old = re.fullmatch(r"(?:Path)?(\w+?)Object", str(feature.get("id", "")))
        given = old.group(1) if old else ""
    return re.sub(r"[^a-z]", "", given.lower())


def _choose_types(objects: Sequence[str] | None, present: set[str]) -> frozenset[str]:
    """Return the types of objects to take, of those that the data has."""
    if objects is not None:
        return frozenset({*objects, ""})
    wanted = present - _NEVER_TAKEN.keys()
    return frozenset(wanted - {"annotation"} if wanted & {"cell", "detection"} else wanted)


def _explain_left_out(kind: str, taken: frozenset[str]) -> str:
    """Say why an object of a type becomes no cell; empty where it does."""
    if kind in _NEVER_TAKEN:
        return f"is a {_NEVER_TAKEN[kind]}, not a cell"
    if kind in taken:
        return ""
    shown = f"an {kind}" if kind == "annotation" else f"a {kind}"
    chosen = " ".join(sorted(taken - {""})) or "none"
    return f"is {shown}, where objects of other types are taken ({chosen}); --objects chooses"


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
        name, kind = _name_class(feature), _find_type(feature)
        geometry = feature.get("nucleusGeometry" if nuclei else "geometry")
        left_out = _explain_left_out(kind, taken)
        own = _find_plane(feature)
        if not left_out or (name == IGNORED_CLASS and kind not in _NEVER_TAKEN):
            planes[own] += 1
        draw = partial(_draw, geometry)
        if not plane.includes(own):
            left_out, draw = "is on another plane", partial(_refuse, "is on another plane")
        elif kind in _NEVER_TAKEN:
            draw = partial(_refuse, left_out)
        annotations.append(
            Annotation(f"object {feature.get('id', place)}", name, draw, False, left_out)
        )
    _check_planes(path, planes, plane)
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


def _find_plane(feature: Mapping[str, Any]) -> Plane:
    """Return the plane that an object's outline lies on; QuPath leaves the first one away."""
    geometry = feature.get("geometry")
    plane = geometry.get("plane") if isinstance(geometry, dict) else None
    if not isinstance(plane, dict):
        return Plane(0, 0)
    try:
        return Plane(int(plane.get("z") or 0), int(plane.get("t") or 0))
    except (TypeError, ValueError, OverflowError):
        return Plane(0, 0)


def _check_planes(path: Path, planes: Counter[Plane], chosen: Plane) -> None:
    """Raise CellDataError where objects lie on several planes, which would be merged."""
    found = sorted(plane for plane in planes if chosen.includes(plane))
    if len(found) > 1:
        listed = ", ".join(f"{planes[p]} at z={p.z}, t={p.t}" for p in found[:10])
        raise CellDataError(
            f"{path}: has objects on several planes ({listed}); choose the one that the image "
            "shows with --z or --t, or export one plane per file."
        )
    if planes and not found:
        listed = ", ".join(f"z={p.z}, t={p.t}" for p in sorted(planes)[:10])
        raise CellDataError(
            f"{path}: has no object on the plane chosen with --z and --t, only at {listed}; choose "
            "one of these."
        )


def _refuse(reason: str, height: int, width: int) -> Drawing:
    """Draw nothing: not even a region to ignore comes of this object."""
    raise UnusableAnnotationError(reason)


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
        raise UnusableAnnotationError("outline must be a list of x, y positions")
    drawing = draw_polygons(polygons, height, width)
    if any(ring and ring[0] != ring[-1] for rings in polygons for ring in rings):
        return drawing._replace(changes=(*drawing.changes, "open outline closed"))
    return drawing
