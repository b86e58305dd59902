"""Cells that an earlier `cellseg predict` has found in an image, from its GeoJSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from cellseg.errors import CellsegError
from cellseg.formats.conversion.annotations import UnusableAnnotationError
from cellseg.formats.conversion.drawing import draw_polygons
from cellseg.formats.geojson import read_features
from cellseg.formats.qupath_objects import name_class
from cellseg.images import ImageSource
from cellseg.web.rings import Rings, encode_crop_rings

_LARGEST_BYTES = 2**28
_FOLDER = "predictions"  # where `cellseg predict` writes by default


@dataclass(frozen=True)
class EarlierCells:
    """Outlines, classes and scores of N cells."""

    rings: list[Rings]
    labels: list[int]
    scores: list[float | None]


def find_earlier_cells(
    path: Path, name: str, image: ImageSource, class_names: tuple[str, ...]
) -> EarlierCells | None:
    """Find and read the cells of an image.

    Args:
        path: The image.
        name: What `cellseg predict` calls it.
        image: The image, open at full resolution.
        class_names: The classes of the model; cells of other classes are left out.

    Returns:
        The cells of `NAME.geojson` beside the image, or in a folder `predictions` beside it or
        where the command runs; None where there is none that can be read.
    """
    for folder in (path.parent, path.parent / _FOLDER, Path(_FOLDER)):
        file = folder / f"{name}.geojson"
        if file.is_file() and file.stat().st_size <= _LARGEST_BYTES:
            try:
                found = _read(file, image, class_names)
            except CellsegError as error:
                print_log(f"{file} is not shown: {error}", "current")
                continue
            print_log(f"Showing {len(found.rings)} cells of {file}.", "current")
            return found
    return None


def _read(file: Path, image: ImageSource, class_names: tuple[str, ...]) -> EarlierCells:
    """Read a file that `write_geojson` has written, or QuPath."""
    numbers = {name: index for index, name in enumerate(class_names)}
    found = EarlierCells([], [], [])
    for feature in read_features(file):
        label = numbers.get(name_class(feature))
        geometry = feature.get("geometry")
        if label is None or not isinstance(geometry, dict):
            continue
        polygons = geometry.get("coordinates")
        polygons = [polygons] if geometry.get("type") == "Polygon" else polygons
        try:
            crop = draw_polygons(polygons, image.height, image.width).crop  # type: ignore[arg-type]
        except (UnusableAnnotationError, TypeError, ValueError, IndexError, OverflowError):
            continue
        found.rings.append(encode_crop_rings(crop))
        found.labels.append(label)
        found.scores.append(_read_score(feature))
    return found


def _read_score(feature: Mapping[str, Any]) -> float | None:
    """Read the score among the measurements; None where there is none."""
    properties = feature.get("properties")
    measurements = properties.get("measurements") if isinstance(properties, dict) else None
    score = measurements.get("score") if isinstance(measurements, dict) else None
    if isinstance(score, bool) or not isinstance(score, int | float):
        return None
    return float(score) if 0 <= score <= 1 else None
