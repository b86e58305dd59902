"""Open annotated images of any format that is read; guess which one it is from the files."""

from __future__ import annotations

import re
from pathlib import Path

from cellseg.errors import CellsegError
from cellseg.file_listing import list_files
from cellseg.formats.coco_data import read_coco
from cellseg.formats.conversion.annotations import Source
from cellseg.formats.dsb2018 import read_dsb2018
from cellseg.formats.geojson import read_geojson
from cellseg.formats.label_folders import CELLPOSE_ENDINGS, read_label_folders
from cellseg.formats.monusac import read_monusac
from cellseg.formats.pannuke import read_pannuke

_SIMPLE_LABELS = (".tif", ".tiff", ".png")


def guess_format(images: Path, labels: Path | None = None) -> str:
    """Guess the format of annotated images.

    Args:
        images: Folder of images, or of images and annotations.
        labels: Folder or file of the annotations; None where they lie beside the images.

    Returns:
        The format's name, as `cellseg convert` has it.

    Raises:
        CellsegError: If a path is absent, or nothing there looks like annotations.
    """
    for path in (images, *([] if labels is None else [labels])):
        if not path.exists():
            raise CellsegError(f"There is no file or folder {path}; correct the path.")
    if labels is not None and labels.is_file() and labels.suffix.lower() == ".json":
        return "coco"
    files = list_files(images if labels is None else labels)
    names = [path.name.lower() for path in files]
    if any(name.endswith((".geojson", ".geojson.gz")) for name in names):
        return "geojson"
    if "masks.npy" in names:
        return "pannuke"
    if any(name.endswith(".xml") for name in names):
        return "monusac"
    if labels is None and any(path.parent.name == "masks" for path in files):
        return "dsb2018"
    endings = CELLPOSE_ENDINGS if labels is None else _SIMPLE_LABELS
    if any(name.endswith(endings) for name in names):
        return "labels"
    if labels is None and any(re.fullmatch(r"class\d+\.tif", name) for name in names):
        raise CellsegError(f"{images} is in cellseg's own layout; give it by --data, not --images.")
    raise CellsegError(
        f"{images if labels is None else labels}: no label maps, GeoJSON, COCO, XML or masks were "
        "found there; give the folder of the annotations with --labels, or name their format with "
        "--format."
    )


def open_annotated(
    images: Path,
    labels: Path | None,
    data_format: str,
    class_name: str = "cell",
    channel_order: str = "rgb",
) -> Source:
    """Open annotated images.

    Args:
        images: Folder of images, or of images and annotations.
        labels: Folder of the annotations, or COCO's file; None where they lie beside the images.
        data_format: Its name, as `guess_format` gives it.
        class_name: The class of all cells, in formats that name none.
        channel_order: 'bgr' for TIFFs that store blue first.

    Returns:
        The source.

    Raises:
        CellsegError: If the data cannot be used.
    """
    if data_format == "labels":
        return read_label_folders(images, labels, class_name, channel_order)
    if data_format == "geojson":
        return read_geojson(images, labels or images, channel_order)
    if data_format == "coco":
        if labels is None:
            raise CellsegError("Annotations in COCO's format need their file; give it by --labels.")
        return read_coco(labels, images, channel_order)
    if data_format == "monusac":
        return read_monusac(images, channel_order)
    return read_pannuke(images) if data_format == "pannuke" else read_dsb2018(images, class_name)
