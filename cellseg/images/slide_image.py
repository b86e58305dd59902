"""Slides that OpenSlide reads, inside their bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.images.image_source import ImageSize
from cellseg.images.stored_image import PixelSize, StoredImage, check_size, settle_pixel_size


class SlideImage(StoredImage):
    """A slide through OpenSlide, cut to the bounds that its scanner filled, as QuPath shows it.

    Args:
        path: The slide.

    Raises:
        CellDataError: If OpenSlide cannot read it.
        ImportError: If OpenSlide is not installed.
    """

    has_regions = True

    def __init__(self, path: Path) -> None:
        """Open the slide; see the class."""
        import openslide

        self.path, self._is_closed, self._error = path, False, openslide.OpenSlideError
        with self._as_data_error():
            self._slide = openslide.OpenSlide(str(path))
        properties = self._slide.properties
        self.downsamples = tuple(float(factor) for factor in self._slide.level_downsamples)
        full_width, full_height = self._slide.level_dimensions[0]
        self._x = _to_int(properties.get("openslide.bounds-x"), 0)
        self._y = _to_int(properties.get("openslide.bounds-y"), 0)
        width = _to_int(properties.get("openslide.bounds-width"), full_width - self._x)
        height = _to_int(properties.get("openslide.bounds-height"), full_height - self._y)
        is_inside = (
            0 <= self._x < self._x + width <= full_width
            and 0 <= self._y < self._y + height <= full_height
        )
        if not is_inside:
            self._x, self._y, width, height = 0, 0, full_width, full_height
        self.levels = tuple(
            _level_size(height, width, factor, *dimensions[::-1])
            for factor, dimensions in zip(
                self.downsamples, self._slide.level_dimensions, strict=True
            )
        )

    @contextmanager
    def _as_data_error(self) -> Iterator[None]:
        """Turn an error of OpenSlide into a CellDataError."""
        try:
            yield
        except self._error as error:
            raise CellDataError(
                f"{self.path}: OpenSlide cannot read it ({error}); check the file."
            ) from error

    def read_pixel_size(self) -> PixelSize:
        """Read the pixel size that OpenSlide tells; see the base class."""
        x, y = (self._slide.properties.get(f"openslide.mpp-{axis}") for axis in "xy")
        try:
            return settle_pixel_size(float(x or ""), float(y or x or ""), "the slide's metadata")
        except ValueError:  # absent, or no number
            return PixelSize(note="OpenSlide does not tell its pixel size")

    def read_whole(self, level: int, max_pixels: int) -> NDArray[Any]:
        """Read a level; see the base class."""
        size = self.levels[level]
        check_size(self.path, size, max_pixels)
        return self.read_region(level, 0, 0, size.width, size.height)

    def read_region(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[Any]:
        """Read a region over white, which is what transparent parts of a slide mean."""
        factor = self.downsamples[level]
        origin = (self._x + round(x * factor), self._y + round(y * factor))
        with self._as_data_error():
            region = np.asarray(self._slide.read_region(origin, level, (width, height)))
        colors = region[..., :3].astype(np.uint16)
        alpha = region[..., 3:].astype(np.uint16)
        return ((colors * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)

    def close(self) -> None:
        """Close the slide, unless that is done; OpenSlide takes a second time for an error."""
        if not self._is_closed:
            self._is_closed = True
            self._slide.close()


def _level_size(
    height: int, width: int, factor: float, full_height: int, full_width: int
) -> ImageSize:
    """Compute the size of the bounds at a level, which has itself a size in whole pixels."""
    return ImageSize(
        max(min(math.ceil(height / factor), full_height), 1),
        max(min(math.ceil(width / factor), full_width), 1),
    )


def _to_int(text: str | None, default: int) -> int:
    """Read a whole number; the default where there is none."""
    try:
        return int(text) if text is not None else default
    except ValueError:
        return default
