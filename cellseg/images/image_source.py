"""An image as callers read it: regions in 8-bit B, G, R, whatever the file stores.

`stored_image` is the other side of the door: the values as the file holds them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellseg.images.closable import Closable

GRAY = ("gray",)
RGB = ("red", "green", "blue")


class ImageSize(NamedTuple):
    """Height and width of an image in pixels."""

    height: int
    width: int


class ImageSource(Closable, ABC):
    """An image that is read in regions.

    Attributes:
        height: Height in pixels of the level that is read.
        width: Width in pixels.
        channels: What the file stores for each pixel: GRAY or RGB; alpha is not among them. It is
            not the order that `read` gives.
        levels: Size of each resolution that the file holds, finest first.
        pixel_size_um: Side of a pixel of this level in micrometers; None where it is not known or
            pixels are not square.
        pixel_size_xy_um: Its width and height, also of pixels that are not square.
        pixel_size_note: Where the pixel size comes from or, where there is none, why.
        downsample: Full-resolution pixels per pixel of this level.
    """

    height: int
    width: int
    channels: tuple[str, ...] = RGB
    levels: tuple[ImageSize, ...] = ()
    pixel_size_um: float | None = None
    pixel_size_xy_um: tuple[float, float] | None = None
    pixel_size_note: str = "the image does not tell its pixel size"
    downsample: float = 1.0

    @abstractmethod
    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read a region that lies inside the image, as (height, width, 3) uint8 B, G, R."""

    def read_rgb(
        self, x: int = 0, y: int = 0, width: int | None = None, height: int | None = None
    ) -> NDArray[np.uint8]:
        """Read a region for other libraries, the rest of the image by default.

        Args:
            x: Left edge in pixels.
            y: Upper edge in pixels.
            width: Width in pixels; to the right edge of the image when None.
            height: Height in pixels; to the lower edge when None.

        Returns:
            The region as (height, width, 3) uint8 R, G, B.
        """
        width = self.width - x if width is None else width
        height = self.height - y if height is None else height
        return np.ascontiguousarray(self.read(x, y, width, height)[..., ::-1])


class ArraySource(ImageSource):
    """An image that is in memory already.

    Args:
        image: (H, W, 3) uint8 in the order B, G, R.
        pixel_size_um: Side of a pixel in micrometers, where known.

    Raises:
        ValueError: If the array is no such image.
    """

    def __init__(self, image: NDArray[np.uint8], pixel_size_um: float | None = None) -> None:
        """Keep the array; see the class."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(f"An image must be (H, W, 3) uint8, not {image.shape} {image.dtype}.")
        self._image = image
        self.height, self.width = image.shape[:2]
        self.levels = (ImageSize(self.height, self.width),)
        self.pixel_size_um = pixel_size_um
        self.pixel_size_xy_um = None if pixel_size_um is None else (pixel_size_um, pixel_size_um)

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Cut the region out, without a copy."""
        return self._image[y : y + height, x : x + width]
