"""An image file as it is stored: its resolutions, its pixel size, its values in their own type.

Each kind of file has a subclass; `opening` makes of it an `ImageSource`, which callers read.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.images.closable import Closable
from cellseg.images.image_source import RGB, ImageSize

MOST_UNEQUAL = 0.02
"""Pixels whose sides differ by no more than this share are taken as square."""

_SANE_UM = (0.01, 20.0)  # a size outside is that of a screen or printer
# Bytes once decoded per byte of the file that no image of cells exceeds: blank slides reach about
# 300, and deflate cannot exceed 1032 at all.
_MOST_BYTES_PER_BYTE = 500
_SMALL_BYTES = 2**28  # as little memory as this is always granted


class PixelSize(NamedTuple):
    """Sides of a pixel in micrometers, None where unknown; `note` says whence, or why not."""

    x_um: float | None = None
    y_um: float | None = None
    note: str = "the file does not tell its pixel size"

    @property
    def side_um(self) -> float | None:
        """Side of a square pixel of the same area; None where unknown, or far from square."""
        if self.x_um is None or self.y_um is None:
            return None
        if abs(self.x_um / self.y_um - 1) > MOST_UNEQUAL:
            return None
        return self.x_um if self.x_um == self.y_um else math.sqrt(self.x_um * self.y_um)


def settle_pixel_size(x_um: float, y_um: float, origin: str) -> PixelSize:
    """Check a pixel size that a file tells.

    Args:
        x_um: Width of a pixel in micrometers.
        y_um: Height of a pixel in micrometers.
        origin: What told it, such as "the OME metadata".

    Returns:
        The size, or no size where it makes no sense, with a note.
    """
    low, high = _SANE_UM
    if not (low <= x_um <= high and low <= y_um <= high):
        sides = f"{x_um:.6g}" if x_um == y_um else f"{x_um:.6g} x {y_um:.6g}"
        note = f"{origin} give pixels of {sides} um, not between {low:g} and {high:g} um"
        return PixelSize(note=note)
    if abs(x_um / y_um - 1) > MOST_UNEQUAL:
        note = f"{origin} give pixels of {x_um:.6g} x {y_um:.6g} um, which are not square"
        return PixelSize(x_um, y_um, note)
    return PixelSize(x_um, y_um, origin)


class StoredImage(Closable, ABC):
    """An image file, open.

    Attributes:
        path: The file.
        levels: Size of each resolution, finest first.
        downsamples: Full-resolution pixels per pixel of each.
        channels: What each pixel holds, GRAY or RGB.
        is_8bit: Whether the values are 8 bit, so that they need no mapping.
        largest_value: What white is stored as where it takes fewer than 8 bits; None elsewhere.
        may_be_bgr: Whether the option `channel_order` holds for it, as only for plain TIFFs.
        has_regions: Whether a region can be read without decoding all of the image.
    """

    path: Path
    levels: tuple[ImageSize, ...]
    downsamples: tuple[float, ...] = (1.0,)
    channels: tuple[str, ...] = RGB
    is_8bit: bool = True
    largest_value: int | None = None
    may_be_bgr: bool = False
    has_regions: bool = False

    @abstractmethod
    def read_whole(self, level: int, max_pixels: int) -> NDArray[Any]:
        """Read a level, (H, W, 1 or 3) gray or R, G, B, of the file's own type.

        Raises:
            CellDataError: If it is larger than max_pixels, or damaged.
        """

    def read_region(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[Any]:
        """Read a region of a level, as `read_whole` does; only where `has_regions`."""
        raise NotImplementedError

    def read_pixel_size(self) -> PixelSize:
        """Read the pixel size of the finest level."""
        return PixelSize()

    def prepare_regions(self, level: int) -> None:  # noqa: B027  (most need nothing)
        """Raise CellDataError where a level cannot be read in regions."""


def check_size(path: Path, size: ImageSize, max_pixels: int) -> None:
    """Raise CellDataError where an image declares more pixels than may be decoded at once."""
    if size.height * size.width > max_pixels:
        raise CellDataError(
            f"{path}: declares {size.height} x {size.width} pixels, more than the limit of "
            f"{max_pixels}; tile the image, or raise max_pixels if the file can be trusted."
        )


def check_declared_bytes(path: Path, size: ImageSize, pixel_bytes: int, file_bytes: int) -> None:
    """Raise CellDataError where a file is far too small for the pixels that it declares.

    Args:
        path: The file.
        size: Its declared size.
        pixel_bytes: Bytes of a pixel once decoded.
        file_bytes: Size of the file in bytes.
    """
    declared = size.height * size.width * pixel_bytes
    if declared > max(_SMALL_BYTES, file_bytes * _MOST_BYTES_PER_BYTE):
        raise CellDataError(
            f"{path}: declares {size.height} x {size.width} pixels, far too many for a file of "
            f"{file_bytes} bytes; it is damaged or blank, replace it with an intact copy."
        )


def require_finite(path: Path, values: NDArray[Any]) -> None:
    """Raise CellDataError where values are NaN or infinite."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise CellDataError(
            f"{path}: holds NaN or infinite pixels; replace them with finite values."
        )
