"""Folders of images and label maps of one class, as Cellpose and StarDist have them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.file_listing import list_files
from cellseg.formats.conversion.annotations import AnnotatedImage, Annotation, Source
from cellseg.formats.conversion.drawing import list_labels
from cellseg.formats.conversion.fingerprints import fingerprint_files
from cellseg.formats.conversion.image_pairs import pair_files
from cellseg.formats.conversion.names import name_folder
from cellseg.images import read_label_map, read_stored_image

_SUFFIXES = (".tif", ".tiff", ".png")
CELLPOSE_ENDINGS = tuple(
    f"{mark}{suffix}" for mark in ("_cp_masks", "_masks") for suffix in _SUFFIXES
)
_CELLPOSE_EXTRAS = re.compile(
    r"_(flows|dp|outlines|cp_output)(_.*)?\.(tiff?|png)|_seg\.npy|_cp_outlines\.txt|_rois\.zip"
)


def read_label_folders(
    images: Path, labels: Path | None = None, class_name: str = "cell", channel_order: str = "rgb"
) -> Source:
    """Read images with a label map each.

    Args:
        images: Folder of images.
        labels: Folder of label maps: StarDist's masks/ with the images' names, or Cellpose's
            `<image>_masks.tif` or .png; these are looked for beside the images when None. What
            Cellpose writes besides, such as `<image>_flows.tif`, is counted and left out.
        class_name: The class of all cells.
        channel_order: 'bgr' for TIFFs that store blue first.

    Returns:
        The source.

    Raises:
        CellDataError: If there is no label map.
    """
    endings = CELLPOSE_ENDINGS if labels is None else (*CELLPOSE_ENDINGS, *_SUFFIXES)
    _check_masks(labels or images, endings)
    pairs, losses = pair_files(images, labels or images, endings, _CELLPOSE_EXTRAS)
    converted = [
        AnnotatedImage(
            name_folder(pair.image.relative_to(images)),
            str(pair.image.absolute()),
            partial(_load, pair.image, pair.annotations, class_name, channel_order),
            partial(fingerprint_files, *pair),
        )
        for pair in pairs
    ]
    return Source(converted, [class_name], losses=losses)


def _check_masks(folder: Path, endings: tuple[str, ...]) -> None:
    """Raise CellDataError for a folder whose masks are in Cellpose's pickles only."""
    names = [path.name.lower() for path in list_files(folder)]
    pickled = any(name.endswith("_seg.npy") for name in names)
    if pickled and not any(name.endswith(endings) for name in names):
        raise CellDataError(
            f"{folder}: holds masks only as Cellpose's _seg.npy, which are pickles and not read; "
            "save the masks from Cellpose as PNG or TIFF, too."
        )


def _load(
    image: Path, labels: Path, class_name: str, channel_order: str
) -> tuple[NDArray[Any], Iterable[Annotation]]:
    """Read one image and its label map."""
    pixels = read_stored_image(image, channel_order)
    label_map = read_label_map(labels)
    if label_map.shape != pixels.shape[:2]:
        raise CellDataError(
            f"{labels}: is {label_map.shape[0]} x {label_map.shape[1]} pixels but its image is "
            f"{pixels.shape[0]} x {pixels.shape[1]}; save label maps at the image's size."
        )
    return pixels, list_labels(label_map, class_name)
