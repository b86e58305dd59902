"""Open any image: in regions as 8-bit blue, green, red, or whole with the values it stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.images.eight_bit import (
    DEFAULT_MAX_PIXELS,
    check_image_format,
    check_intensity_range,
    find_limits,
    order_channels,
    to_8bit_bgr,
)
from cellseg.images.image_source import ArraySource, ImageSize, ImageSource
from cellseg.images.kinds import open_stored
from cellseg.images.resampling import ResampledSource, resampled_size
from cellseg.images.stored_image import StoredImage

_READ_WHOLE_PX = 2**24  # up to 4096 x 4096 an image is read whole: 48 MiB
_SAME_PIXEL_SIZE = 0.02  # levels whose pixel size is off by less are taken as they are
_SAMPLED_REGIONS, _SAMPLED_PX = 5, 512  # 5 x 5 regions for percentiles of a large image


@dataclass(frozen=True)
class ImageSummary:
    """What the data set must know of an image: its size in pixels, and whether it is 8 bit."""

    height: int
    width: int
    is_8bit: bool


class RegionSource(ImageSource):
    """One level of an image file that is decoded region by region.

    Args:
        stored: The file, open; it is closed with the source.
        level: Which of its levels, 0 the finest.
        options: From `check_image_format`; percentiles are estimated from regions spread over the
            image.

    Raises:
        CellDataError: If it cannot be read in parts, or its values cannot be made 8 bit.
    """

    def __init__(self, stored: StoredImage, level: int, options: Mapping[str, Any]) -> None:
        """Settle how values become 8 bit; see the class."""
        self._stored, self._level = stored, level
        self.height, self.width = stored.levels[level]
        stored.prepare_regions(level)
        self._stores_bgr = stored.may_be_bgr and options["channel_order"] == "bgr"
        self._limits: tuple[float, float] | None = None
        if not stored.is_8bit:
            check_intensity_range(stored.path, False, options["intensity_range"])
            is_percentile = isinstance(options["intensity_range"], Mapping)
            sample = self._sample() if is_percentile else np.zeros(0)
            self._limits = find_limits(sample, options["intensity_range"])

    def _sample(self) -> NDArray[Any]:
        """Read every fourth pixel each way of regions spread over the image."""
        width, height = min(self.width, _SAMPLED_PX), min(self.height, _SAMPLED_PX)
        xs = np.linspace(0, self.width - width, _SAMPLED_REGIONS).astype(int).tolist()
        ys = np.linspace(0, self.height - height, _SAMPLED_REGIONS).astype(int).tolist()
        regions = (
            self._stored.read_region(self._level, x, y, width, height) for y in ys for x in xs
        )
        return np.concatenate([region[::4, ::4].ravel() for region in regions])

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Decode what the region touches.

        Raises:
            CellDataError: If the file is damaged there, or holds NaN.
        """
        values = self._stored.read_region(self._level, x, y, width, height)
        return to_8bit_bgr(values, self._limits, self._stores_bgr)

    def close(self) -> None:
        """Close the file."""
        self._stored.close()


def open_image(
    path_or_array: str | Path | NDArray[np.uint8],
    image_format: Mapping[str, Any] | None = None,
    mpp: float | None = None,
    pixel_size_um: float | None = None,
) -> ImageSource:
    """Open an image for reading in regions.

    Args:
        path_or_array: TIFF, slide, PNG, JPEG, BMP or WebP; or (H, W, 3) uint8.
        image_format: May hold `channel_order`, 'rgb' (default) or 'bgr', of plain TIFFs and arrays
            (pictures and slides are always RGB), and `intensity_range`, (low, high) or
            dict(percentile=(low, high)), which every file needs that is not 8 bit; to 8 bit it is
            not applied.
        mpp: Wanted pixel size in micrometers; the coarsest level that is fine enough is read and
            resampled. The finest level as it is when None.
        pixel_size_um: Pixel size of the finest level, where the file does not tell or is wrong.

    Returns:
        The source; close it, or use it in a with statement.

    Raises:
        CellDataError: If the file cannot be read, or mpp is asked for and its pixel size is
            unknown.
        ValueError: If an array is no such image, or image_format has an unknown option.

    Example:
        >>> import numpy as np
        >>> from cellseg import open_image
        >>> array = np.zeros((100, 200, 3), np.uint8)
        >>> array[..., 0] = 255  # red
        >>> with open_image(array, pixel_size_um=0.25) as image:
        ...     image.width, image.height, image.pixel_size_xy_um
        ...     image.read_rgb(x=10, y=20, width=2, height=1).tolist()
        (200, 100, (0.25, 0.25))
        [[[255, 0, 0], [255, 0, 0]]]
    """
    options = check_image_format(image_format or {})
    if isinstance(path_or_array, np.ndarray):
        is_rgb = options["channel_order"] == "rgb"
        array = np.ascontiguousarray(path_or_array[..., ::-1]) if is_rgb else path_or_array
        source: ImageSource = ArraySource(array, pixel_size_um)
        factor = _choose_level("The array", (1.0,), pixel_size_um, mpp, "")[1]
        return source if factor == 1 else ResampledSource(source, factor)
    stored = open_stored(Path(path_or_array))
    try:
        size = stored.read_pixel_size()
        finest_um = pixel_size_um or size.side_um
        level, factor = _choose_level(stored.path, stored.downsamples, finest_um, mpp, size.note)
        source = _open_level(stored, level, options)
    except BaseException:
        stored.close()
        raise
    source.channels, source.levels = stored.channels, stored.levels
    source.downsample = stored.downsamples[level]
    source.pixel_size_um = None if finest_um is None else finest_um * source.downsample
    x_um, y_um = pixel_size_um or size.x_um, pixel_size_um or size.y_um
    if x_um and y_um:
        source.pixel_size_xy_um = x_um * source.downsample, y_um * source.downsample
    source.pixel_size_note = "given" if pixel_size_um else size.note
    return source if factor == 1 else ResampledSource(source, factor)


def read_opened_size(
    path: str | Path, mpp: float | None = None, pixel_size_um: float | None = None
) -> ImageSize:
    """Read how large `open_image` would make an image, without decoding a pixel.

    Args:
        path: As for `open_image`.
        mpp: As there.
        pixel_size_um: As there.

    Returns:
        Height and width in pixels of the level and pixel size.

    Raises:
        CellDataError: As for `open_image`, where the header already tells.
    """
    with open_stored(Path(path)) as stored:
        told = stored.read_pixel_size()
        finest_um = pixel_size_um or told.side_um
        level, factor = _choose_level(stored.path, stored.downsamples, finest_um, mpp, told.note)
        size = stored.levels[level]
        return size if factor == 1 else resampled_size(size, factor)


def read_cell_image(
    path: str | Path, image_format: Mapping[str, Any] | None = None
) -> NDArray[np.uint8]:
    """Read an image whole as 8-bit blue, green, red, whatever the file holds.

    Args:
        path: As for `open_image`; the finest level is read.
        image_format: As for `open_image`, and `max_pixels`, the largest height x width decoded.

    Returns:
        (H, W, 3) uint8 in the order B, G, R.

    Raises:
        CellDataError: If the file cannot be read as such an image.
    """
    options = check_image_format(image_format or {})
    with open_stored(Path(path), options["max_pixels"], use_openslide=False) as stored:
        return _read_8bit(stored, 0, options)


def read_stored_image(path: str | Path, channel_order: str = "rgb") -> NDArray[Any]:
    """Read an image whole without mapping its values.

    Args:
        path: As for `open_image`.
        channel_order: 'bgr' for plain TIFFs that store blue first.

    Returns:
        (H, W), or (H, W, 3) in R, G, B, of the file's type; fewer than 8 bits are spread over 8.

    Raises:
        CellDataError: If the file cannot be read.
    """
    with open_stored(Path(path), DEFAULT_MAX_PIXELS, use_openslide=False) as stored:
        values = stored.read_whole(0, DEFAULT_MAX_PIXELS)
        if stored.largest_value is not None:
            steps = np.arange(stored.largest_value + 1) * (255 / stored.largest_value)
            values = np.rint(steps).astype(np.uint8)[values]
        swaps = stored.may_be_bgr and channel_order == "bgr"
    if values.shape[2] == 1:
        return values[..., 0]
    return order_channels(values, (2, 1, 0)) if swaps else values


def summarize_image(path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> ImageSummary:
    """Decode an image once to learn that it can be read, and how large it is.

    Args:
        path: As for `open_image`.
        max_pixels: Largest height x width that is decoded, in pixels.

    Returns:
        Size and kind of the image.

    Raises:
        CellDataError: If the file cannot be read as a cell image.
    """
    with open_stored(Path(path), max_pixels, use_openslide=False) as stored:
        values = stored.read_whole(0, max_pixels)
        return ImageSummary(values.shape[0], values.shape[1], stored.is_8bit)


def read_image_size(path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> ImageSize:
    """Read height and width in pixels without decoding a pixel.

    Args:
        path: As for `open_image`.
        max_pixels: Largest height x width that is accepted, in pixels.

    Returns:
        Height and width in pixels.

    Raises:
        CellDataError: If the file is no image, is truncated, or declares too large a size.
    """
    with open_stored(Path(path), max_pixels, use_openslide=False) as stored:
        return stored.levels[0]


def _open_level(stored: StoredImage, level: int, options: dict[str, Any]) -> ImageSource:
    """Read a level whole where it is small or has no regions, and leave it in the file if not."""
    size = stored.levels[level]
    if stored.has_regions and size.height * size.width > _READ_WHOLE_PX:
        return RegionSource(stored, level, options)
    with stored:
        return ArraySource(_read_8bit(stored, level, options))


def _read_8bit(stored: StoredImage, level: int, options: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Read a level whole as (H, W, 3) uint8 B, G, R."""
    values = stored.read_whole(level, options["max_pixels"])
    limits = None
    if not stored.is_8bit:
        check_intensity_range(stored.path, False, options["intensity_range"])
        limits = find_limits(values, options["intensity_range"])
    return to_8bit_bgr(values, limits, stored.may_be_bgr and options["channel_order"] == "bgr")


def _choose_level(
    name: str | Path,
    downsamples: tuple[float, ...],
    finest_um: float | None,
    mpp: float | None,
    note: str,
) -> tuple[int, float]:
    """Choose the level to read, and how many of its pixels become one; 1 where it fits as it is."""
    if mpp is None:
        return 0, 1.0
    if finest_um is None:
        raise CellDataError(
            f"{name}: does not tell its pixel size ({note}), which --mpp needs; give it with "
            "--pixel-size."
        )
    wanted = mpp / finest_um  # full-resolution pixels per wanted pixel
    fitting = [
        index
        for index, factor in enumerate(downsamples)
        if factor <= wanted * (1 + _SAME_PIXEL_SIZE)
    ]
    level = max(fitting, key=downsamples.__getitem__, default=0)
    factor = wanted / downsamples[level]
    return level, 1.0 if abs(factor - 1) <= _SAME_PIXEL_SIZE else factor
