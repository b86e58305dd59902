"""The 2018 Data Science Bowl: one folder per image, one PNG per nucleus."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.file_listing import is_hidden
from cellseg.formats.conversion.annotations import (
    AnnotatedImage,
    Annotation,
    Drawing,
    Loss,
    Source,
)
from cellseg.formats.conversion.drawing import trim
from cellseg.formats.conversion.fingerprints import fingerprint_files
from cellseg.formats.conversion.names import name_folder
from cellseg.images import read_label_map, read_stored_image


def read_dsb2018(folder: Path, class_name: str = "nucleus") -> Source:
    """Read `<id>/images/<id>.png` with `<id>/masks/*.png`, such as stage1_train.

    Args:
        folder: Folder of the image folders.
        class_name: The class of all nuclei.

    Returns:
        The source; an image folder without image or without masks is among its losses.

    Raises:
        CellDataError: If the folder is absent.
    """
    if not folder.is_dir():
        raise CellDataError(f"{folder}: no such folder; correct the path.")
    images, losses = [], []
    for own in sorted(
        path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)
    ):
        pictures, masks = _list_pngs(own / "images"), _list_pngs(own / "masks")
        if len(pictures) == 1 and masks:
            load = partial(_load, pictures[0], masks, class_name)
            state = partial(fingerprint_files, pictures[0], *masks)
            images.append(AnnotatedImage(name_folder(own.name), str(own.absolute()), load, state))
        else:
            reason = "has no masks" if pictures else "has no image"
            if len(pictures) > 1:
                reason = "has several images"
            losses.append(Loss("image", str(own), "", "", f"the folder {reason}"))
    return Source(images, [class_name], losses=losses)


def _list_pngs(folder: Path) -> list[Path]:
    """List the PNGs of a folder in order, without hidden ones."""
    return sorted(path for path in folder.glob("*.png") if not is_hidden(path.name))


def _load(
    picture: Path, masks: list[Path], class_name: str
) -> tuple[NDArray[Any], Iterator[Annotation]]:
    """Read one image; its masks are read one after another as they are drawn."""
    return read_stored_image(picture), (
        Annotation(mask.name, class_name, partial(_draw, mask)) for mask in masks
    )


def _draw(path: Path, height: int, width: int) -> Drawing:
    """Read the mask of one nucleus, in one piece or several."""
    mask = read_label_map(path) > 0
    if mask.shape != (height, width):
        raise CellDataError(
            f"{path}: is {mask.shape[0]} x {mask.shape[1]} pixels but its image is {height} x "
            f"{width}; save masks at the image's size."
        )
    return Drawing(trim(mask, 0, 0))
