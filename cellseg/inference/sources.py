"""Images of any size, read region by region as 8-bit blue, green, red.

Small images are read whole by `read_cell_image`. Large TIFFs (tiled, striped, pyramidal, SVS,
NDPI) are decoded strip by strip or tile by tile through tifffile; whole-slide formats go through
OpenSlide where the extra `slides` is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cellseg.datasets.tiff_io import CellDataError, read_cell_image
from cellseg.inference.image_source import ImageSize, ImageSource
from cellseg.inference.pictures import read_picture, read_picture_size
from cellseg.inference.tiff_source import TiffSource, read_tiff_pixel_size, scan_tiff_levels

TIFF_SUFFIXES = {".tif", ".tiff"}
SLIDE_SUFFIXES = {".svs", ".ndpi", ".scn", ".mrxs", ".vms", ".vmu", ".bif"}
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp"}
_TIFF_LIKE_SLIDES = {".svs", ".ndpi", ".scn", ".bif"}
_READ_WHOLE_PX = 2**24  # up to 4096 x 4096 an image is read whole: 48 MiB
_SAME_PIXEL_SIZE = 0.02  # levels whose pixel size is off by less are taken as they are


class ArraySource(ImageSource):
    """An image that is in memory already.

    Args:
        image: (H, W, 3) uint8 in the order B, G, R.
        pixel_size_um: Side of a pixel in micrometres, where known.

    Raises:
        ValueError: If the array is no such image.
    """

    def __init__(self, image: NDArray[np.uint8], pixel_size_um: float | None = None) -> None:
        """Keep the array; see the class."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(
                f"An image must be (H, W, 3) uint8 in the order B, G, R, not {image.shape} "
                f"{image.dtype}."
            )
        self._image = image
        self.height, self.width = image.shape[:2]
        self.pixel_size_um = pixel_size_um

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Cut the region out, without a copy."""
        return self._image[y : y + height, x : x + width]


class ResampledSource(ImageSource):
    """Another source at a different pixel size; regions that overlap get the same pixels.

    Args:
        source: What is read.
        factor: Pixels of the source per pixel of the result; below 1 enlarges.
    """

    def __init__(self, source: ImageSource, factor: float) -> None:
        """Keep the source; see the class."""
        self._source = source
        self._factor = factor
        self.height, self.width = _resampled_size(source, factor)
        self.downsample = source.downsample * factor
        if source.pixel_size_um is not None:
            self.pixel_size_um = source.pixel_size_um * factor

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read the region with bilinear interpolation, blurred first when made smaller."""
        factor, source = self._factor, self._source
        sigma = max((factor - 1) / 2, 0.0)
        margin = int(np.ceil(3 * sigma)) + 2
        x1, y1 = (max(int(start * factor) - margin, 0) for start in (x, y))
        x2 = min(int(np.ceil((x + width) * factor)) + margin, source.width)
        y2 = min(int(np.ceil((y + height) * factor)) + margin, source.height)
        region = source.read(x1, y1, x2 - x1, y2 - y1)
        if sigma > 0:
            region = cv2.GaussianBlur(region, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        shift = (factor - 1) / 2  # pixel centres lie at half-integers
        matrix = np.array(
            [[factor, 0, x * factor + shift - x1], [0, factor, y * factor + shift - y1]]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            region, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class OpenSlideSource(ImageSource):
    """One level of a slide, through OpenSlide.

    Args:
        path: The slide.
        level: Level of the pyramid, 0 the finest.
    """

    def __enter__(self) -> OpenSlideSource:
        """Return the source itself."""
        return self

    def __init__(self, path: Path, level: int = 0) -> None:
        """Open the slide; see the class."""
        import openslide

        self._slide = openslide.OpenSlide(str(path))
        self._level = level
        self.level_downsamples = [float(factor) for factor in self._slide.level_downsamples]
        self.level_sizes = [ImageSize(y, x) for x, y in self._slide.level_dimensions]
        self.height, self.width = self.level_sizes[level]
        self.downsample = self.level_downsamples[level]
        finest = self._slide.properties.get(openslide.PROPERTY_NAME_MPP_X)
        self.pixel_size_um = float(finest) * self.downsample if finest else None

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read the region over white, which is what transparent parts of a slide mean."""
        origin = (round(x * self.downsample), round(y * self.downsample))
        region = np.asarray(self._slide.read_region(origin, self._level, (width, height)))
        colours = region[..., 2::-1].astype(np.uint16)
        alpha = region[..., 3:].astype(np.uint16)
        return ((colours * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)

    def close(self) -> None:
        """Close the slide."""
        self._slide.close()


def open_image(
    path: str | Path,
    image_format: Mapping[str, Any] | None = None,
    mpp: float | None = None,
    pixel_size_um: float | None = None,
) -> ImageSource:
    """Open an image file for reading in regions.

    Args:
        path: TIFF, slide, PNG, JPEG or BMP.
        image_format: How TIFFs store colours, and TIFFs and PNGs intensities, as for
            `read_cell_image`.
        mpp: Wanted pixel size in micrometres; the finest level that is not finer than needed is
            read and resampled. The finest level as it is when None.
        pixel_size_um: Pixel size of the finest level, where the file does not tell or is wrong.

    Returns:
        The source; close it, or use it in a with statement.

    Raises:
        CellDataError: If the file cannot be read, or mpp is asked for and its pixel size is
            unknown.
    """
    levels = _probe(Path(path), dict(image_format or {}))
    finest_um = pixel_size_um or levels.finest_um
    level, factor = _choose_level(Path(path), levels.downsamples, finest_um, mpp)
    source = _with_pixel_size(levels.open(level), finest_um)
    return source if factor == 1 else ResampledSource(source, factor)


def read_opened_size(
    path: str | Path, mpp: float | None = None, pixel_size_um: float | None = None
) -> ImageSize:
    """Read how large `open_image` would make an image, without decoding a pixel.

    A picture that EXIF says to turn may come out with height and width swapped.

    Args:
        path: As for `open_image`.
        mpp: As there.
        pixel_size_um: As there.

    Returns:
        Height and width in pixels of the level and pixel size.

    Raises:
        CellDataError: As for `open_image`, where the header already tells.
    """
    levels = _probe(Path(path), {})
    finest_um = pixel_size_um or levels.finest_um
    level, factor = _choose_level(Path(path), levels.downsamples, finest_um, mpp)
    size = levels.size_of(level)
    return size if factor == 1 else _resampled_size(size, factor)


def _choose_level(
    path: Path, downsamples: list[float], finest_um: float | None, mpp: float | None
) -> tuple[int, float]:
    """Choose the level to read, and how many of its pixels become one; 1 where it fits as it is."""
    if mpp is None:
        return 0, 1.0
    if finest_um is None:
        raise CellDataError(
            f"{path}: does not tell its pixel size, which --mpp needs; give it with --pixel-size."
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


def _resampled_size(size: ImageSize | ImageSource, factor: float) -> ImageSize:
    """Compute the size of an image of which factor x factor pixels become one."""
    return ImageSize(max(round(size.height / factor), 1), max(round(size.width / factor), 1))


def _with_pixel_size(source: ImageSource, finest_um: float | None) -> ImageSource:
    """Set a source's pixel size from that of the finest level."""
    source.pixel_size_um = None if finest_um is None else finest_um * source.downsample
    return source


class _Levels(NamedTuple):
    """The resolutions of a file, finest first, and the pixel size of that one."""

    downsamples: list[float]
    finest_um: float | None
    size_of: Callable[[int], ImageSize]
    open: Callable[[int], ImageSource]


def _probe(path: Path, image_format: dict[str, Any]) -> _Levels:
    """Find a file's levels."""
    if not path.is_file():
        raise CellDataError(f"{path}: no such file; put it there or correct the path.")
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return _Levels(
            [1.0],
            None,
            lambda level: ImageSize(*read_picture_size(path)),
            lambda level: ArraySource(read_picture(path, image_format)),
        )
    if suffix in SLIDE_SUFFIXES:
        slide = _try_openslide(path)
        if slide is not None:
            return slide
    if suffix not in TIFF_SUFFIXES | _TIFF_LIKE_SLIDES:
        raise CellDataError(
            f"{path}: this kind of file needs OpenSlide, the extra slides (pip install "
            "openslide-python openslide-bin); install it, or save the image as a tiled TIFF."
        )
    levels = scan_tiff_levels(path)
    if suffix in _TIFF_LIKE_SLIDES:
        image_format["channel_order"] = "rgb"
    is_small = levels[0].pixels <= _READ_WHOLE_PX and len(levels) == 1

    def open_level(level: int) -> ImageSource:
        if suffix in TIFF_SUFFIXES and is_small:
            return ArraySource(read_cell_image(path, image_format))
        return TiffSource(path, levels[level], image_format)

    return _Levels(
        [level.downsample for level in levels],
        read_tiff_pixel_size(path),
        lambda level: ImageSize(levels[level].height, levels[level].width),
        open_level,
    )


def _try_openslide(path: Path) -> _Levels | None:
    """Find a slide's levels through OpenSlide; None where it is not installed or cannot read it."""
    try:
        import openslide
    except (ImportError, OSError):
        return None
    try:
        with OpenSlideSource(path) as finest:
            return _Levels(
                finest.level_downsamples,
                finest.pixel_size_um,
                finest.level_sizes.__getitem__,
                lambda level: OpenSlideSource(path, level),
            )
    except openslide.OpenSlideError as error:
        if path.suffix.lower() in _TIFF_LIKE_SLIDES:
            return None
        raise CellDataError(
            f"{path}: OpenSlide cannot read it ({error}); check the file."
        ) from error


def is_readable_name(path: Path) -> bool:
    """Tell by its name whether a file is an image that `open_image` may read."""
    return path.suffix.lower() in TIFF_SUFFIXES | SLIDE_SUFFIXES | PICTURE_SUFFIXES
