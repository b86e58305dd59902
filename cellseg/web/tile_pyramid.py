"""Tiles of an image for a viewer, made when they are asked for; the image is never loaded whole."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.images import ArraySource, ImageSource

TILE_PX = 512
_LARGEST_READ_PX = 2048  # sides of a region that is read for one tile
_BLOCK_PX = 2048
_LARGEST_OVERVIEW_PX = 8192
_QUALITY = 95


class ClosedImageError(CellDataError):
    """An image was closed, to make room for others, while it was read."""


OpenLevel = Callable[[float], ImageSource]
"""Opens the image with so many full-resolution pixels per pixel."""


class TilePyramid:
    """The tiles of one image: level L shows it 2^(highest - L) times smaller.

    Levels that the file holds are read from there. Others are made from a finer one, and the
    coarsest of an image without levels from an overview, which is made once, block by block.

    Args:
        source: The image at full resolution, open.
        open_level: Opens it at another one.
    """

    def __init__(self, source: ImageSource, open_level: OpenLevel) -> None:
        """Note the levels; see the class."""
        self.width, self.height = source.width, source.height
        self.highest = max(math.ceil(math.log2(max(self.width, self.height) / TILE_PX)), 0)
        self._open_level = open_level
        self._sources: dict[float, ImageSource] = {1.0: source}
        self._stored = [source.width / max(level.width, 1) for level in source.levels[1:]]
        self._lock = threading.RLock()
        self._closed = False

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read a region at full resolution, as `ImageSource.read`; one at a time."""
        with self._lock:
            self._require_open()
            return self._sources[1.0].read(x, y, width, height)

    def encode_tile(self, level: int, column: int, row: int) -> bytes | None:
        """Make a tile as JPEG; None where there is none.

        Raises:
            CellDataError: If the image is damaged there.
        """
        if not 0 <= level <= self.highest:
            return None
        factor = float(2 ** (self.highest - level))
        across, down = math.ceil(self.width / factor), math.ceil(self.height / factor)
        x, y = column * TILE_PX, row * TILE_PX
        if column < 0 or row < 0 or x >= across or y >= down:
            return None
        size = min(TILE_PX, across - x), min(TILE_PX, down - y)
        pixels = self._read_level(factor, x, y, *size)
        sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        return cv2.imencode(".jpg", pixels, options)[1].tobytes()

    def close(self) -> None:
        """Close the image."""
        with self._lock:
            self._closed = True
            for source in self._sources.values():
                source.close()
            self._sources.clear()

    def _require_open(self) -> None:
        """Raise CellDataError where the image was closed meanwhile."""
        if self._closed:
            raise ClosedImageError("The image was closed; open it again.")

    def _read_level(
        self, factor: float, x: int, y: int, width: int, height: int
    ) -> NDArray[np.uint8]:
        """Read a region of the image made smaller by a factor."""
        with self._lock:
            self._require_open()
            have, source = self._choose(factor)
            ratio = factor / have
            x1, y1 = math.floor(x * ratio), math.floor(y * ratio)
            x2 = min(math.ceil((x + width) * ratio), source.width)
            y2 = min(math.ceil((y + height) * ratio), source.height)
            x1, y1 = min(x1, x2 - 1), min(y1, y2 - 1)
            region = source.read(x1, y1, x2 - x1, y2 - y1)
        if region.shape[:2] == (height, width):
            return region
        return _shrink(region, width, height)

    def _choose(self, factor: float) -> tuple[float, ImageSource]:
        """Choose what to read a level from: its own factor, and the open image."""
        fitting = [own for own in (1.0, *self._stored) if own <= factor * 1.02]
        have = max(fitting)
        if factor / have * TILE_PX > _LARGEST_READ_PX:
            have = self._make_overview(have)
        if have not in self._sources:
            self._sources[have] = self._open_level(have)
        return have, self._sources[have]

    def _make_overview(self, have: float) -> float:
        """Make the overview of an image without coarse levels; return its factor."""
        factor = have * 8
        while max(self.width, self.height) / factor > _LARGEST_OVERVIEW_PX:
            factor *= 2
        if factor not in self._sources:
            if have not in self._sources:
                self._sources[have] = self._open_level(have)
            self._sources[factor] = ArraySource(_shrink_whole(self._sources[have], factor / have))
        return factor


class PyramidRegion(ImageSource):
    """A part of an image whose tiles are shown at the same time.

    Args:
        pyramid: The image.
        box: x1, y1, x2, y2 in pixels of the image.
        pixel_size_um: Side of a pixel in micrometers, where known.
    """

    def __init__(
        self, pyramid: TilePyramid, box: tuple[int, int, int, int], pixel_size_um: float | None
    ) -> None:
        """Keep the part; see the class."""
        self._pyramid, self.box = pyramid, box
        self.width, self.height = box[2] - box[0], box[3] - box[1]
        self.pixel_size_um = pixel_size_um

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read a region of the part."""
        return self._pyramid.read(self.box[0] + x, self.box[1] + y, width, height)


def _shrink(region: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Make a region smaller by averaging."""
    shrunk = cv2.resize(region, (width, height), interpolation=cv2.INTER_AREA)
    return shrunk.astype(np.uint8, copy=False)


def _shrink_whole(source: ImageSource, factor: float) -> NDArray[np.uint8]:
    """Make an image smaller block by block, so that no more than a row of blocks is in memory."""
    width, height = math.ceil(source.width / factor), math.ceil(source.height / factor)
    shrunk = np.zeros((height, width, 3), dtype=np.uint8)
    side = max(int(_BLOCK_PX // factor), 1)  # in pixels of the result
    for y in range(0, height, side):
        for x in range(0, width, side):
            right, bottom = min(x + side, width), min(y + side, height)
            x1, y1 = int(x * factor), int(y * factor)
            x2 = min(int(right * factor), source.width)
            y2 = min(int(bottom * factor), source.height)
            block = source.read(x1, y1, x2 - x1, y2 - y1)
            shrunk[y:bottom, x:right] = _shrink(block, right - x, bottom - y)
    return shrunk
