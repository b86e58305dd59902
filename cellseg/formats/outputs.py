"""Write cells in the formats that other tools open, chosen by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cellseg.formats.coco_json import write_coco_results
from cellseg.formats.geojson import write_geojson
from cellseg.formats.label_tiff import class_label_paths, write_label_tiffs
from cellseg.formats.overlay import write_overlay
from cellseg.formats.tables import (
    check_parquet,
    measure_cells,
    write_csv,
    write_parquet,
)
from cellseg.images import ImageSource
from cellseg.structures.cells import Cells


class Format(NamedTuple):
    """An output format: what follows the image's name, what it is for, and its writer.

    The writer takes the cells, the open image and the file, and returns what should be noted.
    """

    suffix: str
    purpose: str
    write: Callable[[Cells, ImageSource, Path], dict[str, Any]]


def _write_labels(cells: Cells, image: ImageSource, path: Path) -> dict[str, Any]:
    return {"lost_pixels": write_label_tiffs(cells, path).lost_pixels}


def _write_geojson(cells: Cells, image: ImageSource, path: Path) -> dict[str, Any]:
    write_geojson(cells, path)
    return {}


def _write_coco(cells: Cells, image: ImageSource, path: Path) -> dict[str, Any]:
    write_coco_results(cells, path)
    return {}


def _write_csv(cells: Cells, image: ImageSource, path: Path) -> dict[str, Any]:
    write_csv(measure_cells(cells, image), path)
    return {}


def _write_parquet(cells: Cells, image: ImageSource, path: Path) -> dict[str, Any]:
    write_parquet(measure_cells(cells, image), path)
    return {}


def _write_overlay(cells: Cells, image: ImageSource, path: Path) -> dict[str, Any]:
    write_overlay(cells, image, path)
    return {}


FORMATS: dict[str, Format] = {
    "labels": Format(".labels.tif", "label TIFFs, combined and per class", _write_labels),
    "geojson": Format(".geojson", "cell outlines for QuPath, at full resolution", _write_geojson),
    "coco": Format(".coco.json", "COCO results, joined in coco_results.json", _write_coco),
    "csv": Format(".cells.csv", "measurements of each cell, px at the predicted level", _write_csv),
    "parquet": Format(".cells.parquet", "the same table as Parquet", _write_parquet),
    "overlay": Format(".overlay.png", "the image with outlines", _write_overlay),
}


def check_formats(formats: Sequence[str]) -> None:
    """Raise CellsegError if a format needs an optional package that is not installed."""
    if "parquet" in formats:
        check_parquet()


def output_files(stem: Path, formats: list[str], class_names: tuple[str, ...]) -> list[Path]:
    """List every file that the formats make for one image.

    Args:
        stem: Output folder and image name.
        formats: Keys of FORMATS.
        class_names: Names of the model's classes.

    Returns:
        The files, whether or not they are there.
    """
    files = []
    for name in formats:
        path = stem.with_name(stem.name + FORMATS[name].suffix)
        files.append(path)
        if name == "labels":
            files += class_label_paths(path, class_names)
    return files


def write_outputs(
    cells: Cells, image: ImageSource, stem: Path, formats: list[str]
) -> dict[str, Any]:
    """Write one image's cells in several formats.

    Args:
        cells: Cells of the image; may be empty.
        image: The image, open.
        stem: Output folder and image name.
        formats: Keys of FORMATS.

    Returns:
        What the writers note, such as lost_pixels of the label map.
    """
    notes: dict[str, Any] = {}
    for name in formats:
        notes.update(
            FORMATS[name].write(cells, image, stem.with_name(stem.name + FORMATS[name].suffix))
        )
    return notes


__all__ = ["FORMATS", "Format", "check_formats", "output_files", "write_outputs"]
