"""Read pictures (PNG, JPEG, BMP) whole, by the same rules as TIFFs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cellseg.datasets.tiff_io import (
    CellDataError,
    check_image_format,
    check_intensity_range,
    map_to_8bit,
)


def read_picture(path: Path, image_format: Mapping[str, Any] | None = None) -> NDArray[np.uint8]:
    """Read a PNG, JPEG or BMP; one that EXIF says to turn is turned.

    Args:
        path: The file.
        image_format: As for `read_cell_image`; 16 bit need an `intensity_range` here, too. The
            channel order is that of such files.

    Returns:
        (H, W, 3) uint8 in the order B, G, R.

    Raises:
        CellDataError: If the file cannot be decoded, or is not 8 bit and there is no range.
    """
    content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH  # else 16-bit values lose their lower half
    image = cv2.imdecode(content, flags) if len(content) else None
    if image is None:
        raise _undecodable(path)
    if image.dtype != np.uint8:
        intensity_range = check_image_format(image_format or {})["intensity_range"]
        check_intensity_range(path, False, intensity_range)
        image = map_to_8bit(image, intensity_range)
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def read_picture_size(path: Path) -> tuple[int, int]:
    """Read height and width in pixels as stored, which EXIF may turn, without decoding a pixel.

    Raises:
        CellDataError: If the file is no picture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large pictures are welcome
            with Image.open(path) as image:
                return image.height, image.width
    except Exception as error:
        raise _undecodable(path) from error


def _undecodable(path: Path) -> CellDataError:
    """Say that a picture cannot be read."""
    return CellDataError(
        f"{path}: cannot be decoded; it may be damaged, replace it by a whole copy."
    )
