"""What tiled prediction asks of an image: its size, and the pixels of a region."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ImageSize(NamedTuple):
    """Height and width of an image in pixels."""

    height: int
    width: int


class ImageSource(ABC):
    """An image that is read in regions.

    Attributes:
        height: Height in pixels of the level that is read.
        width: Width in pixels.
        pixel_size_um: Side of such a pixel in micrometres, where the file tells.
        downsample: Full-resolution pixels per pixel of this level.
    """

    height: int
    width: int
    pixel_size_um: float | None = None
    downsample: float = 1.0

    @abstractmethod
    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read a region that lies inside the image, as (height, width, 3) uint8 B, G, R."""

    def close(self) -> None:  # noqa: B027  (most sources have nothing to close)
        """Close the file, where there is one."""

    def __enter__(self) -> ImageSource:
        """Return the source itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()
