"""Read images and label maps of the usual formats, with the values that the file holds."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cellseg.datasets import tiff_io
from cellseg.datasets.tiff_io import DEFAULT_MAX_PIXELS, CellDataError, read_label_map

TIFF_SUFFIXES = (".tif", ".tiff", ".svs")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
IMAGE_SUFFIXES = TIFF_SUFFIXES + PICTURE_SUFFIXES
"""Files that are read as images; where several share a name the first suffix is taken."""

_GREY_MODES = {"L", "I", "F"}  # and 'I;16' in either byte order
_LABEL_MODES = {"1", "L", "P", "I"}


def read_image(path: Path, channel_order: str = "rgb") -> NDArray[Any]:
    """Read an image without changing its values.

    Args:
        path: TIFF, SVS, PNG, JPEG or BMP; grey, RGB or RGBA, of which alpha is dropped.
        channel_order: 'bgr' for TIFFs that store blue first.

    Returns:
        (H, W), or (H, W, 3) in R, G, B, of the file's type.

    Raises:
        CellDataError: If the file cannot be read.
    """
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return _decode(path, for_labels=False)
    pixels, _ = tiff_io._read_pixels(path, DEFAULT_MAX_PIXELS)
    if pixels.shape[2] == 1:
        return pixels[..., 0]
    return pixels[..., ::-1] if channel_order == "bgr" else pixels


def read_labels(path: Path) -> NDArray[Any]:
    """Read a label map (H, W) of integers from a TIFF or PNG.

    Raises:
        CellDataError: If the file cannot be read or is no label map.
    """
    if path.suffix.lower() in TIFF_SUFFIXES:
        return read_label_map(path)
    return _decode(path, for_labels=True)


def check_labels(values: NDArray[Any], origin: str) -> NDArray[np.int64]:
    """Turn label values into int64.

    Args:
        values: Label map of any number type.
        origin: Where it comes from, for the message.

    Raises:
        CellDataError: If a value is negative, fractional or not finite.
    """
    with np.errstate(invalid="ignore"):
        labels = values.astype(np.int64)
    if values.size and ((labels < 0).any() or not np.array_equal(labels, values)):
        raise CellDataError(
            f"{origin}: label values are negative, fractional or not finite; save whole numbers, 0 "
            "for background and one id a cell."
        )
    return labels


def _decode(path: Path, for_labels: bool) -> NDArray[Any]:
    """Decode a PNG, JPEG or BMP; its declared size is looked at first."""
    if not path.is_file():
        raise CellDataError(f"{path}: no such file; put it there or correct the path.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(path, formats=("PNG", "JPEG", "BMP"))
        with opened as picture:
            _check_picture(path, picture, for_labels)
            is_grey = picture.mode in _GREY_MODES or picture.mode.startswith("I;16")
            if is_grey or for_labels:
                return np.array(picture)
            return np.array(picture.convert("L" if picture.mode in ("1", "LA") else "RGB"))
    except CellDataError:
        raise
    except Exception as error:
        raise CellDataError(
            f"{path}: cannot be decoded, it may be truncated or damaged ({error}); replace it by a "
            "whole copy."
        ) from error


def _check_picture(path: Path, picture: Image.Image, for_labels: bool) -> None:
    """Raise CellDataError for a picture that is too large, or of no use as a label map."""
    if picture.width * picture.height > DEFAULT_MAX_PIXELS:
        raise CellDataError(
            f"{path}: declares {picture.height} x {picture.width} pixels, more than the limit of "
            f"{DEFAULT_MAX_PIXELS}; cut it into tiles."
        )
    mode = picture.mode
    if for_labels and mode not in _LABEL_MODES and not mode.startswith("I;16"):
        raise CellDataError(
            f"{path}: a label map must be grey with one number a pixel, not {mode}; save one id a "
            "cell, as 16-bit PNG or TIFF."
        )
