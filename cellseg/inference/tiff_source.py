"""Read regions of large TIFFs: only the strips or tiles that a region touches are decoded."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cellseg.datasets import tiff_io
from cellseg.datasets.tiff_io import CellDataError, check_image_format, check_intensity_range
from cellseg.inference.image_source import ImageSource

_CACHE_BYTES = 64 * 2**20
_LARGEST_SEGMENT_BYTES = 2**30
_SANE_PIXEL_SIZE_UM = (0.01, 20.0)  # a resolution tag outside is a screen's or printer's
_CENTIMETRE, _INCH = 3, 2
_SAMPLED_REGIONS, _SAMPLED_PX = 5, 512  # 5 x 5 regions for percentiles of a large image


@dataclass(frozen=True)
class TiffLevel:
    """One resolution of a TIFF: its place in the file, size in pixels, and how much coarser."""

    series: int
    level: int
    height: int
    width: int
    downsample: float

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width


def scan_tiff_levels(path: Path) -> list[TiffLevel]:
    """List the resolutions of the first image of a TIFF, finest first.

    Raises:
        CellDataError: If the file is no TIFF of one flat image.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            firsts: list[Any] = [level.pages[0] for level in tiff.series[0].levels]
            levels = [first.keyframe for first in firsts]
            sizes = [(page.imagelength, page.imagewidth) for page in levels]
    except Exception as error:
        raise CellDataError(
            f"{path}: cannot be read as a TIFF, it may be truncated or damaged ({error}); "
            "replace it by a whole copy."
        ) from error
    if not sizes or min(sizes[0]) < 1:
        raise CellDataError(f"{path}: holds no image; save one image of H x W pixels.")
    return [
        TiffLevel(0, index, height, width, sizes[0][1] / width)
        for index, (height, width) in enumerate(sizes)
    ]


def read_tiff_pixel_size(path: Path) -> float | None:
    """Read the pixel size in micrometres from a TIFF; None where it tells none that makes sense.

    OME metadata, Aperio's MPP and the resolution tags are understood.
    """
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        candidates = [
            _ome_um(tiff.ome_metadata),
            _match(r"MPP\s*=\s*([\d.]+)", page.description),
            _resolution_um(page, tiff),
        ]
    low, high = _SANE_PIXEL_SIZE_UM
    return next((size for size in candidates if size is not None and low <= size <= high), None)


def _ome_um(text: str | None) -> float | None:
    """Find the pixel size in OME metadata, where it is in micrometres, as it is by default."""
    unit = re.search(r'PhysicalSizeXUnit="([^"]*)"', text or "")
    if unit and unit.group(1) not in ("µm", "um", "&#181;m"):
        return None
    return _match(r'PhysicalSizeX="([\d.eE+-]+)"', text)


def _match(pattern: str, text: str | None) -> float | None:
    """Find a number in a text; None where it is none, such as 0.5.4."""
    found = re.search(pattern, text or "")
    try:
        return float(found.group(1)) if found else None
    except ValueError:
        return None


def _resolution_um(page: tifffile.TiffPage, tiff: tifffile.TiffFile) -> float | None:
    """Compute the pixel size from the resolution tags."""
    tag = page.tags.get("XResolution")
    if tag is None or not tag.value[0] or not tag.value[1]:
        return None
    size = tag.value[1] / tag.value[0]
    if tiff.is_imagej and (tiff.imagej_metadata or {}).get("unit") in (
        "um",
        "micron",
        "\\u00B5m",
        "µm",
    ):
        return size
    unit = int(page.tags["ResolutionUnit"].value) if "ResolutionUnit" in page.tags else _INCH
    return size * {_CENTIMETRE: 1e4, _INCH: 2.54e4}.get(unit, np.nan)


class TiffSource(ImageSource):
    """One level of a TIFF, decoded segment by segment with a small cache.

    Args:
        path: The file.
        level: The level, from `scan_tiff_levels`.
        image_format: Colours and intensities, as for `read_cell_image`; percentiles are estimated
            from regions spread over the image.

    Raises:
        CellDataError: If the file is a stack, or its pixels are of a kind that cannot be used, or
            cannot be read in parts.
    """

    def __init__(
        self, path: Path, level: TiffLevel, image_format: Mapping[str, Any] | None = None
    ) -> None:
        """Open the file; see the class."""
        self._path = path
        self._tiff = tifffile.TiffFile(path)
        first: Any = self._tiff.series[level.series].levels[level.level].pages[0]
        self._page: Any = first.aspage()
        self.height, self.width = level.height, level.width
        self.downsample = level.downsample
        self._cache: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._cached_bytes = 0
        try:
            self._prepare(dict(image_format or {}))
        except BaseException:
            self.close()
            raise

    def _prepare(self, image_format: dict[str, Any]) -> None:
        """Check that the page can be read in parts and settle how values become 8 bit."""
        page = self._page
        if tiff_io.is_stack(self._tiff, self._tiff.pages.first):
            raise CellDataError(
                f"{self._path}: is a stack of several images; save the one image as a file of its "
                "own."
            )
        image_format.pop("max_pixels", None)
        options = check_image_format(image_format)
        tiff_io.check_colours(self._path, page)
        self._swap = options["channel_order"] == "rgb"
        self._planes = page.samplesperpixel if int(page.planarconfig) == 2 else 1
        self._segment_height = (
            page.tilelength if page.is_tiled else min(page.rowsperstrip, self.height)
        )
        self._segment_width = page.tilewidth if page.is_tiled else self.width
        samples = 1 if self._planes > 1 else page.samplesperpixel
        size = self._segment_height * self._segment_width * samples * page.dtype.itemsize
        if size > _LARGEST_SEGMENT_BYTES and not page.is_memmappable:
            raise CellDataError(
                f"{self._path}: is compressed in one piece of {size / 2**30:.1f} GiB, so it "
                f"cannot be read in "
                "parts; save it as a tiled TIFF."
            )
        if page.dtype.kind not in "uif" and page.dtype != bool:
            raise CellDataError(
                f"{self._path}: pixel type {page.dtype} cannot be used; save uint8."
            )
        self._range = None
        if page.dtype != np.uint8:
            check_intensity_range(self._path, False, options["intensity_range"])
            self._range = self._settle_range(options["intensity_range"])

    def _settle_range(self, intensity_range: Any) -> tuple[float, float]:
        """Turn percentiles into limits, from regions spread over the image."""
        if not isinstance(intensity_range, Mapping):
            low, high = intensity_range
            return float(low), float(high)
        width, height = min(self.width, _SAMPLED_PX), min(self.height, _SAMPLED_PX)
        xs = np.linspace(0, self.width - width, _SAMPLED_REGIONS).astype(int).tolist()
        ys = np.linspace(0, self.height - height, _SAMPLED_REGIONS).astype(int).tolist()
        values = [self._read_raw(x, y, width, height)[::4, ::4].ravel() for y in ys for x in xs]
        low, high = np.percentile(np.concatenate(values), intensity_range["percentile"])
        return float(low), float(high)

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Decode what the region touches.

        Raises:
            CellDataError: If the file is damaged there.
        """
        raw = self._read_raw(x, y, width, height)
        if self._range is not None:
            low, high = self._range
            raw = (
                tiff_io.map_to_8bit(raw, (low, high))
                if high > low
                else np.zeros(raw.shape, np.uint8)
            )
        if raw.shape[2] == 1:
            return np.repeat(raw, 3, axis=2)
        return np.ascontiguousarray(raw[..., ::-1] if self._swap else raw)

    def _read_raw(self, x: int, y: int, width: int, height: int) -> NDArray[Any]:
        """Read a region as (height, width, 1 or 3) of the file's own type."""
        samples = self._page.samplesperpixel
        region = np.zeros((height, width, samples), dtype=self._page.dtype)
        try:
            if self._page.is_memmappable and int(self._page.planarconfig) == 1:
                region[:] = self._map_region(x, y, width, height)
            else:
                for left, top, plane, segment in self._segments(x, y, width, height):
                    _paste(region, segment, left - x, top - y, plane)
        except CellDataError:
            raise
        except Exception as error:
            raise CellDataError(
                f"{self._path}: cannot be decoded near column {x}, row {y} ({error}); it may be "
                f"truncated or "
                "damaged, replace it by a whole copy."
            ) from error
        return region[..., : 1 if samples < 3 else 3]

    def _map_region(self, x: int, y: int, width: int, height: int) -> NDArray[Any]:
        """Look at an uncompressed image through a memory map that is dropped at once."""
        shape = (self.height, self.width, self._page.samplesperpixel)
        kind = self._page.dtype.newbyteorder(self._tiff.byteorder)
        mapped = np.memmap(self._path, kind, "r", self._page.dataoffsets[0], shape)
        return mapped[y : y + height, x : x + width]

    def _segments(
        self, x: int, y: int, width: int, height: int
    ) -> Iterator[tuple[int, int, int, NDArray[Any]]]:
        """Yield the strips or tiles under a region with their place: column, row, plane, pixels."""
        across = -(-self.width // self._segment_width)
        down = -(-self.height // self._segment_height)
        rows = range(y // self._segment_height, (y + height - 1) // self._segment_height + 1)
        columns = range(x // self._segment_width, (x + width - 1) // self._segment_width + 1)
        for plane in range(self._planes):
            for row in rows:
                for column in columns:
                    segment = self._decode((plane * down + row) * across + column)
                    if segment is not None:
                        yield (
                            column * self._segment_width,
                            row * self._segment_height,
                            plane,
                            segment,
                        )

    def _decode(self, index: int) -> NDArray[Any] | None:
        """Decode one segment (h, w, samples), or take it from the cache; None where it is empty."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        page = self._page
        if page.databytecounts[index] == 0:
            return None
        handle = self._tiff.filehandle
        handle.seek(page.dataoffsets[index])
        data = handle.read(page.databytecounts[index])
        if len(data) < page.databytecounts[index]:
            raise EOFError(f"segment {index} ends early")
        options: dict[str, Any] = {}
        if int(page.compression) in tiff_io.JPEG_COMPRESSIONS:
            options = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
        segment = page.decode(data, index, **options)[0]
        if segment is None:
            return None
        segment = segment.reshape(segment.shape[-3:])
        self._cache[index] = segment
        self._cached_bytes += segment.nbytes
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return segment

    def close(self) -> None:
        """Close the file and forget what was decoded."""
        self._cache.clear()
        self._tiff.close()


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
