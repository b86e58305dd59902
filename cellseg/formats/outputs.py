"""Write cells in the formats that other tools open, chosen by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cellseg.formats.coco_results import write_coco_results
from cellseg.formats.geojson import write_geojson
from cellseg.formats.label_file_names import class_label_paths
from cellseg.formats.label_tiff import write_label_tiffs
from cellseg.formats.overlay import write_overlay
from cellseg.formats.tables import check_parquet, write_csv, write_parquet
from cellseg.images import ImageSource
from cellseg.palette import Color
from cellseg.structures.cells import Cells

Writer = Callable[[Cells, Path, ImageSource, Sequence[Color]], dict[str, Any]]
"""Writes the cells of an image into a file, in the colors of the classes if the format has colors.

It takes the cells, the file, the image, open, and one color per class, and returns what should be
noted in the record of the image.
"""


class Format(NamedTuple):
    """An output format: what follows the image's name, what it is for, and its writer."""

    suffix: str
    purpose: str
    write: Writer


FORMATS: dict[str, Format] = {
    "labels": Format(".labels.tif", "label TIFFs, combined and per class", write_label_tiffs),
    "geojson": Format(".geojson", "cell outlines for QuPath, at full resolution", write_geojson),
    "coco": Format(".coco.json", "COCO results, joined in coco_results.json", write_coco_results),
    "csv": Format(".cells.csv", "measurements of each cell, px at the predicted level", write_csv),
    "parquet": Format(".cells.parquet", "the same table as Parquet", write_parquet),
    "overlay": Format(".overlay.png", "the image with outlines", write_overlay),
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
    cells: Cells,
    image: ImageSource,
    stem: Path,
    formats: list[str],
    palette: Sequence[Color] = (),
) -> dict[str, Any]:
    """Write one image's cells in several formats.

    Args:
        cells: Cells of the image; may be empty.
        image: The image, open.
        stem: Output folder and image name.
        formats: Keys of FORMATS.
        palette: One color per class; the default ones when empty.

    Returns:
        What the writers note, such as lost_pixels of the label map.
    """
    notes: dict[str, Any] = {}
    for name in formats:
        path = stem.with_name(stem.name + FORMATS[name].suffix)
        notes.update(FORMATS[name].write(cells, path, image, palette))
    return notes


__all__ = ["FORMATS", "Format", "check_formats", "output_files", "write_outputs"]
