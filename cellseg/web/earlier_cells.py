"""Cells that an earlier `cellseg predict` has found in an image: its GeoJSON or label TIFFs."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from cellseg.errors import CellDataError, CellsegError
from cellseg.formats.conversion.annotations import UnusableAnnotationError
from cellseg.formats.conversion.drawing import draw_polygons
from cellseg.formats.geojson import read_features
from cellseg.formats.label_file_names import class_label_paths
from cellseg.formats.qupath_objects import name_class
from cellseg.images import ImageSource, read_label_map
from cellseg.structures.cells import Cells
from cellseg.web.rings import Rings, encode_crop_rings, encode_masks

_LARGEST_BYTES = 2**28
_LARGEST_MAP_PX = 2**27  # a label map is read as a whole
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
        The cells of `NAME.geojson` or else of `NAME.labels.CLASS.tif`, beside the image or in a
        folder `predictions` beside it or where the command runs; None where there is none that can
        be read. Label TIFFs have no scores: their cells have score 1.0.
    """
    for folder in (path.parent, path.parent / _FOLDER, Path(_FOLDER)):
        for file, read in _list_readers(folder, name, image, class_names):
            try:
                found = read()
            except CellsegError as error:
                print_log(f"{file} is not shown: {error}", "current")
                continue
            print_log(f"Showing {len(found.rings)} cells of {file}.", "current")
            return found
    return None


def _list_readers(
    folder: Path, name: str, image: ImageSource, class_names: tuple[str, ...]
) -> Iterator[tuple[Path, Callable[[], EarlierCells]]]:
    """List what a folder has of an image, the richest first: a file, and what reads the cells."""
    outlines = folder / f"{name}.geojson"
    if outlines.is_file() and outlines.stat().st_size <= _LARGEST_BYTES:
        yield outlines, partial(_read_outlines, outlines, image, class_names)
    maps = _find_label_maps(folder / f"{name}.labels.tif", class_names)
    if maps:
        yield next(iter(maps.values())), partial(_read_label_maps, maps, image)


def _find_label_maps(combined: Path, class_names: tuple[str, ...]) -> dict[int, Path]:
    """Find the label map of each class; the one file of all will do for a model of one class."""
    paths = class_label_paths(combined, class_names)
    maps = {label: path for label, path in enumerate(paths) if path.is_file()}
    if maps or len(class_names) > 1 or not combined.is_file():
        return maps
    others = combined.parent.glob(f"{glob.escape(combined.stem)}.*{combined.suffix}")
    return {} if any(others) else {0: combined}  # those of another class are left out


def _read_label_maps(maps: Mapping[int, Path], image: ImageSource) -> EarlierCells:
    """Read label TIFFs, class to file."""
    found = EarlierCells([], [], [])
    for label, file in maps.items():
        label_map = read_label_map(file, _LARGEST_MAP_PX)
        if label_map.shape != (image.height, image.width):
            raise CellDataError(
                f"it is {label_map.shape[1]} x {label_map.shape[0]} pixels, and the image is "
                f"{image.width} x {image.height}; predict with --format geojson, which is at full "
                "resolution."
            )
        rings = list(encode_masks(Cells.from_label_map(label_map).get_masks()))
        found.rings.extend(rings)
        found.labels.extend([label] * len(rings))
        found.scores.extend([1.0] * len(rings))
    return found


def _read_outlines(file: Path, image: ImageSource, class_names: tuple[str, ...]) -> EarlierCells:
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
