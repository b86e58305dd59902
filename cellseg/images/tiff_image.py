"""The values that a TIFF stores: whole, or by region from the strips or tiles it touches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.images import tiff_pages
from cellseg.images.stored_image import PixelSize, StoredImage, require_finite
from cellseg.images.tiff_pixel_size import read_tiff_pixel_size

_CACHE_BYTES = 64 * 2**20
_LARGEST_SEGMENT_BYTES = 2**30
_MIN_IS_WHITE = 0


class TiffImage(StoredImage):
    """A TIFF: plain, tiled, pyramidal, OME, ImageJ, or a slide that is built like one.

    Args:
        path: The file.
        max_pixels: Largest height x width that is accepted; None where regions will be read.
        is_slide: Whether it is a scanner's, whose colors are red, green, blue always.

    Raises:
        CellDataError: If the file is not a TIFF of one flat image that can be used.
    """

    has_regions = True

    def __init__(self, path: Path, max_pixels: int | None = None, is_slide: bool = False) -> None:
        """Open and check the file; see the class."""
        self.path = path
        self.may_be_bgr = not is_slide
        self._cache: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
        self._cached_bytes = 0
        self._lock = Lock()  # of the file's position and the cache: several threads may read
        self._checked: set[tuple[int, int | None]] = set()
        with tiff_pages.as_data_error(path):
            self._tiff = tiff_pages.open_tiff(path)
        try:
            with tiff_pages.as_data_error(path):
                self._check(max_pixels)
        except BaseException:
            self.close()
            raise

    def _check(self, max_pixels: int | None) -> None:
        """Find the pages and check the finest one; what holds for it is taken to hold for all."""
        first, *coarser = tiff_pages.find_pages(self.path, self._tiff)
        self._pages = [first, *(page for page in coarser if tiff_pages.is_level_of(page, first))]
        tiff_pages.check_finest(self.path, self._tiff, self._pages[0])
        self.levels = tuple(map(tiff_pages.size_of, self._pages))
        page = self._pages[0]
        self._check_page(0, max_pixels)
        self.downsamples = tuple(self.levels[0].width / max(size.width, 1) for size in self.levels)
        self.channels = tiff_pages.find_channels(self.path, page)
        if page.dtype is None or page.dtype.kind not in "biuf":
            raise CellDataError(f"{self.path}: pixel type {page.dtype} cannot be used; save uint8.")
        bits = page.bitspersample
        self.is_8bit = page.dtype.kind == "b" or (page.dtype == np.uint8 and bits == 8)
        if page.dtype.kind == "u":
            self._white = 2**bits - 1  # 12 bits are decoded into 16
            self.largest_value = self._white if bits < 8 else None
        elif page.dtype.kind in "if" and int(page.photometric) == _MIN_IS_WHITE:
            raise CellDataError(
                f"{self.path}: counts from white (MinIsWhite) in numbers of type {page.dtype}, of "
                "which black is not known; save it with 0 as black (MinIsBlack)."
            )

    def _check_page(self, level: int, max_pixels: int | None) -> None:
        """Check the page of a level, once; slides and pyramids may leave out empty tiles."""
        if (level, max_pixels) not in self._checked:
            page = self._pages[level]
            may_be_sparse = page.is_tiled and len(self._pages) > 1
            tiff_pages.check_page(self.path, self._tiff, page, max_pixels, may_be_sparse)
            self._checked.add((level, max_pixels))

    def read_pixel_size(self) -> PixelSize:
        """Read the pixel size that the metadata or tags tell; see the base class."""
        with tiff_pages.as_data_error(self.path):
            return read_tiff_pixel_size(self._tiff, self._pages[0])

    def read_whole(self, level: int, max_pixels: int) -> NDArray[Any]:
        """Decode a level; see the base class."""
        with tiff_pages.as_data_error(self.path):
            self._check_page(level, max_pixels)
            page = self._pages[level]
            return self._normalize(tiff_pages.decode_page(self.path, page), page)

    def read_region(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[Any]:
        """Decode what a region touches; see the base class."""
        page = self._pages[level]
        region = np.zeros((height, width, page.samplesperpixel), dtype=page.dtype)
        try:
            if page.is_memmappable and int(page.planarconfig) == 1:
                region[:] = self._map_region(level, x, y, width, height)
            else:
                for left, top, plane, segment in self._segments(level, x, y, width, height):
                    _paste(region, segment, left - x, top - y, plane)
        except CellDataError:
            raise
        except Exception as error:
            raise CellDataError(
                f"{self.path}: cannot be decoded near column {x}, row {y} ({error}); it may be "
                "truncated or damaged, replace it with an intact copy."
            ) from error
        return self._normalize(region, page)

    def prepare_regions(self, level: int) -> None:
        """Check a level, and that none of its strips or tiles is too large to be decoded."""
        page = self._pages[level]
        with tiff_pages.as_data_error(self.path):
            self._check_page(level, None)
            height, width = _segment_size(page)
        samples = 1 if int(page.planarconfig) == 2 else page.samplesperpixel
        size = height * width * samples * page.dtype.itemsize
        if size > _LARGEST_SEGMENT_BYTES and not page.is_memmappable:
            raise CellDataError(
                f"{self.path}: is compressed in one piece of {size / 2**30:.1f} GiB, so it cannot "
                "be read in parts; save it as a tiled TIFF."
            )

    def _normalize(self, values: NDArray[Any], page: Any) -> NDArray[Any]:
        """Leave out alpha; make 1 bit 0 and 255; turn values that count from white to black."""
        values = values[..., : len(self.channels)]
        from_white = int(page.photometric) == _MIN_IS_WHITE
        if values.dtype == bool:
            return (values != from_white).astype(np.uint8) * np.uint8(255)
        require_finite(self.path, values)
        if from_white and values.dtype.kind == "u":
            return values.dtype.type(self._white) - values
        return values

    def _map_region(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[Any]:
        """Read a region of an uncompressed image through a memory map that is dropped at once."""
        page = self._pages[level]
        shape = (*self.levels[level], page.samplesperpixel)
        kind = page.dtype.newbyteorder(self._tiff.byteorder)
        mapped = np.memmap(self.path, kind, "r", page.dataoffsets[0], shape)
        return mapped[y : y + height, x : x + width]

    def _segments(
        self, level: int, x: int, y: int, width: int, height: int
    ) -> Iterator[tuple[int, int, int, NDArray[Any]]]:
        """Yield the strips or tiles under a region with their place: column, row, plane, pixels."""
        page = self._pages[level]
        tall, wide = _segment_size(page)
        across = -(-self.levels[level].width // wide)
        down = -(-self.levels[level].height // tall)
        planes = page.samplesperpixel if int(page.planarconfig) == 2 else 1
        for plane in range(planes):
            for row in range(y // tall, (y + height - 1) // tall + 1):
                for column in range(x // wide, (x + width - 1) // wide + 1):
                    segment = self._decode(level, (plane * down + row) * across + column)
                    if segment is not None:
                        yield column * wide, row * tall, plane, segment

    def _decode(self, level: int, index: int) -> NDArray[Any] | None:
        """Decode one segment (h, w, samples), or take it from the cache; None where it is empty."""
        key = (level, index)
        page = self._pages[level]
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            if page.databytecounts[index] == 0:
                return None
            handle = self._tiff.filehandle
            handle.seek(page.dataoffsets[index])
            data = handle.read(page.databytecounts[index])
        if len(data) < page.databytecounts[index]:
            raise EOFError(f"segment {index} ends early")
        options: dict[str, Any] = {}
        if int(page.compression) in tiff_pages.JPEG_COMPRESSIONS:
            options = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
        segment = page.decode(data, index, **options)[0]
        if segment is None:
            return None
        segment = segment.reshape(segment.shape[-3:])
        with self._lock:
            if key not in self._cache:  # another thread may have been faster
                self._cache[key] = segment
                self._cached_bytes += segment.nbytes
            while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return segment

    def close(self) -> None:
        """Close the file and forget what was decoded."""
        self._cache.clear()
        self._tiff.close()


def _segment_size(page: Any) -> tuple[int, int]:
    """Return height and width of a page's tiles or strips in pixels."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _paste(region: NDArray[Any], segment: NDArray[Any], left: int, top: int, plane: int) -> None:
    """Copy a segment into a region, at a column and row that may be negative."""
    height = min(region.shape[0] - top, segment.shape[0])
    width = min(region.shape[1] - left, segment.shape[1])
    y, x = max(-top, 0), max(-left, 0)
    target = region[max(top, 0) : top + height, max(left, 0) : left + width]
    part = segment[y:height, x:width]
    if segment.shape[2] == region.shape[2]:
        target[:] = part
    else:
        target[..., plane] = part[..., 0]
