"""PanNuke: folds of images.npy and masks.npy, read patch by patch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.file_listing import list_files
from cellseg.formats.conversion.annotations import AnnotatedImage, Annotation, Loss, Source
from cellseg.formats.conversion.drawing import list_labels
from cellseg.formats.conversion.fingerprints import fingerprint_files
from cellseg.formats.conversion.names import name_folder
from cellseg.images.label_maps import check_labels

CLASSES = ("neoplastic", "inflammatory", "connective", "dead", "epithelial")
"""The channels of masks.npy in order; a sixth one holds the background."""

_PIXEL_SIZE_UM = 0.25  # all of it was brought to 40x


def read_pannuke(folder: Path) -> Source:
    """Read one fold, or a folder of them, as it comes out of the zip files.

    Args:
        folder: Holds, at any depth, images.npy (N, H, W, 3) and masks.npy (N, H, W, 6), side by
            side or as images/<fold>/images.npy and masks/<fold>/masks.npy.

    Returns:
        The source; patches are named after their fold and number. Nothing is unpickled.

    Raises:
        CellDataError: If there is no masks.npy, or a file is none of PanNuke's.
    """
    masks = [path for path in list_files(folder) if path.name == "masks.npy"]
    if not masks:
        raise CellDataError(
            f"{folder}: holds no masks.npy; give the unpacked folder of a PanNuke fold."
        )
    images: list[AnnotatedImage] = []
    losses: list[Loss] = []
    for path in masks:
        pictures = _find_images(path)
        if pictures is None:
            losses.append(Loss("image", str(path), "", "", "masks.npy has no images.npy"))
            continue
        count = _check_shapes(pictures, path)
        fold = _name_fold(pictures, folder)
        images += [
            AnnotatedImage(
                f"{fold}_{index:05d}",
                f"{pictures.absolute()} [{index}]",
                partial(_load, pictures, path, index),
                partial(fingerprint_files, pictures, path),
            )
            for index in range(count)
        ]
    return Source(images, CLASSES, CLASSES, losses=losses, pixel_size_um=_PIXEL_SIZE_UM)


def _find_images(masks: Path) -> Path | None:
    """Find the images of a masks.npy: beside it, or where 'images' stands for 'masks'."""
    twin = Path(*("images" if part == "masks" else part for part in masks.parent.parts))
    for folder in (masks.parent, twin):
        if (folder / "images.npy").is_file():
            return folder / "images.npy"
    return None


def _name_fold(images: Path, folder: Path) -> str:
    """Name a fold after the folder of its images."""
    own = images.parent
    return name_folder(own.name if own != folder and own.name != "images" else "patch")


def _open(path: Path) -> NDArray[Any]:
    """Map an array into memory, of which only the patches asked for are read."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # its header is Python text, which fails in many ways
        raise CellDataError(
            f"{path}: cannot be read as an array, it may be truncated or damaged ({error}); "
            "replace it with an intact copy."
        ) from error


def _check_shapes(images: Path, masks: Path) -> int:
    """Return the number of patches; CellDataError unless both arrays are PanNuke's."""
    arrays = [_open(path) for path in (images, masks)]
    for path, array in zip((images, masks), arrays, strict=True):
        if array.dtype.kind not in "biuf":
            raise CellDataError(f"{path}: holds {array.dtype}, not numbers; give PanNuke's file.")
    shapes = [array.shape for array in arrays]
    fits = (
        all(len(shape) == 4 and min(shape[1:]) > 0 for shape in shapes)
        and shapes[0][:3] == shapes[1][:3]
    )
    if not fits or shapes[0][3] != 3 or shapes[1][3] != len(CLASSES) + 1:
        raise CellDataError(
            f"{masks}: has shape {shapes[1]} and its images {shapes[0]}; PanNuke's are (N, H, W, "
            f"{len(CLASSES) + 1}) and (N, H, W, 3)."
        )
    return int(shapes[0][0])


def _load(images: Path, masks: Path, index: int) -> tuple[NDArray[np.uint8], Iterator[Annotation]]:
    """Read one patch; its values are 0 to 255, stored as floats."""
    values = np.asarray(_open(images)[index])
    with np.errstate(invalid="ignore"):
        pixels = values.astype(np.uint8)
    if not np.array_equal(pixels, values):
        raise CellDataError(f"{images} [{index}]: pixels are not whole numbers of 0 to 255.")
    return pixels, _list_cells(np.asarray(_open(masks)[index]), f"{masks} [{index}]")


def _list_cells(channels: NDArray[Any], origin: str) -> Iterator[Annotation]:
    """List the cells of each class's channel; the background's is not read."""
    for channel, class_name in enumerate(CLASSES):
        labels = check_labels(channels[..., channel], f"{origin}, {class_name}")
        yield from list_labels(labels, class_name)
