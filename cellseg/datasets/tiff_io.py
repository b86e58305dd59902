"""Read cell images and label maps from TIFF files, and say plainly what is wrong with a bad one.

Every file is suspect: its declared size is checked before anything is decoded, its strips and
tiles must lie inside the file, and any failure is a `CellDataError` naming the file and the mend.
cv2 is not used: it drops channels, reorders them and refuses float label maps.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cellseg.errors import CellsegError

DEFAULT_MAX_PIXELS = 2**28
"""Largest declared height x width that is decoded by default, in pixels (16384 x 16384)."""

_FORMAT_KEYS = {"channel_order", "intensity_range", "max_pixels"}
JPEG_COMPRESSIONS = {6, 7, 33007, 34892}


class CellDataError(CellsegError, ValueError):
    """Say which data file cannot be used and what to do about it."""


@dataclass(frozen=True)
class ImageSummary:
    """What the data set must know of an image: its size in pixels, and whether it is 8 bit."""

    height: int
    width: int
    is_8bit: bool


def read_cell_image(
    path: str | Path, image_format: Mapping[str, Any] | None = None
) -> NDArray[np.uint8]:
    """Read an image as 8-bit blue, green, red, whatever the file holds.

    Args:
        path: TIFF with one grey, RGB or RGBA image (alpha is dropped); strips or tiles, BigTIFF or
            not, uncompressed, deflate, LZW or JPEG.
        image_format: May hold `channel_order` of the file ('rgb', the default, or 'bgr'),
            `intensity_range` ((low, high) or dict(percentile=(low, high)), needed unless the file
            is 8 bit, where it is not applied), and `max_pixels`.

    Returns:
        (H, W, 3) uint8 in the order B, G, R.

    Raises:
        CellDataError: If the file cannot be read as such an image.
    """
    options = check_image_format(image_format or {})
    pixels, is_8bit = _read_pixels(Path(path), options["max_pixels"])
    if not is_8bit:
        check_intensity_range(path, is_8bit, options["intensity_range"])
        pixels = map_to_8bit(pixels, options["intensity_range"])
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    return _order_channels(pixels, (2, 1, 0) if options["channel_order"] == "rgb" else (0, 1, 2))


def _order_channels(pixels: NDArray[np.uint8], order: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Copy channels (H, W, 3) one by one, which is three times as fast as all at once."""
    if order == (0, 1, 2) and pixels.flags.c_contiguous:
        return pixels
    ordered = np.empty(pixels.shape, dtype=np.uint8)
    for target, source in enumerate(order):
        ordered[..., target] = pixels[..., source]
    return ordered


def summarize_image(path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> ImageSummary:
    """Decode an image once to learn that it can be read, and how large it is.

    Args:
        path: TIFF as for `read_cell_image`.
        max_pixels: Largest height x width that is decoded, in pixels.

    Returns:
        Size and kind of the image.

    Raises:
        CellDataError: If the file cannot be read as a cell image.
    """
    pixels, is_8bit = _read_pixels(Path(path), max_pixels)
    return ImageSummary(pixels.shape[0], pixels.shape[1], is_8bit)


def read_image_size(path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """Read height and width from a TIFF's tags, without decoding a pixel.

    Args:
        path: TIFF file.
        max_pixels: Largest height x width that is accepted, in pixels.

    Returns:
        Height and width in pixels.

    Raises:
        CellDataError: If the file is no TIFF, is truncated, or declares too large a size.
    """
    with _open_page(Path(path), max_pixels) as page:
        return int(page.imagelength), int(page.imagewidth)


def read_label_map(path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[np.int32]:
    """Read a label map: 0 is background, each other value one cell.

    Args:
        path: Single-channel TIFF of any integer type, or of floats that are whole numbers.
        max_pixels: Largest height x width that is decoded, in pixels.

    Returns:
        (H, W) int32. Ids are those of the file; only where one exceeds 2,147,483,647 are all of
        them replaced by 1, 2, ... in ascending order.

    Raises:
        CellDataError: If the file cannot be read, or a value is fractional, negative or not finite.
    """
    path = Path(path)
    with _open_page(path, max_pixels) as page:
        if page.samplesperpixel != 1:
            raise CellDataError(
                f"{path}: a label map must have one channel, not {page.samplesperpixel}; save one "
                "number a pixel, 0 for background and one id a cell."
            )
        values = _decode(path, page).reshape(page.imagelength, page.imagewidth)
    if values.dtype.kind not in "biuf":
        raise CellDataError(
            f"{path}: label values of type {values.dtype} cannot be used; save whole numbers."
        )
    with np.errstate(invalid="ignore"):
        label_map = values.astype(np.int32)
    if label_map.size and (label_map.min() < 0 or not np.array_equal(label_map, values)):
        return _read_unusual_labels(path, values)
    return label_map


def check_image_format(image_format: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options that say how an image file is to be read, and fill in the defaults.

    Args:
        image_format: Any of `channel_order`, `intensity_range`, `max_pixels`.

    Returns:
        All three options.

    Raises:
        ValueError: If an option is unknown or has a value that makes no sense.
    """
    unknown = set(image_format) - _FORMAT_KEYS
    if unknown:
        raise ValueError(
            f"Unknown image_format keys {sorted(unknown)}; use {sorted(_FORMAT_KEYS)}."
        )
    order = image_format.get("channel_order", "rgb")
    if order not in ("rgb", "bgr"):
        raise ValueError(f"channel_order must be 'rgb' or 'bgr', not {order!r}.")
    intensity_range = image_format.get("intensity_range")
    if intensity_range is not None:
        _check_range(intensity_range)
    max_pixels = image_format.get("max_pixels", DEFAULT_MAX_PIXELS)
    return {"channel_order": order, "intensity_range": intensity_range, "max_pixels": max_pixels}


def check_intensity_range(path: str | Path, is_8bit: bool, intensity_range: Any) -> None:
    """Refuse an image that is not 8 bit where nothing says how to map it.

    Args:
        path: The image, for the message.
        is_8bit: Whether the file holds 8-bit values.
        intensity_range: The option of the image format; None where it is not set.

    Raises:
        CellDataError: If the image is not 8 bit and there is no range.
    """
    if not is_8bit and intensity_range is None:
        raise CellDataError(
            f"{path}: the image is not 8 bit; say how to map it, with intensity_range=(low, high) "
            "or intensity_range=dict(percentile=(0.5, 99.5))."
        )


def _check_range(intensity_range: Any) -> None:
    """Raise ValueError unless the option is (low, high) or dict(percentile=(low, high))."""
    limits = intensity_range
    is_percentile = isinstance(intensity_range, Mapping)
    if is_percentile:
        limits = intensity_range.get("percentile") if len(intensity_range) == 1 else None
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    inside = low >= 0 and high <= 100 if is_percentile else np.isfinite([low, high]).all()
    if not (low < high and inside):
        raise ValueError(
            "intensity_range must be (low, high) with low < high, or dict(percentile=(low, high)) "
            f"with 0 <= low < high <= 100, not {intensity_range!r}."
        )


@contextmanager
def _open_page(path: Path, max_pixels: int) -> Iterator[tifffile.TiffPage]:
    """Open the first page of a TIFF whose tags hold together; any failure is a CellDataError."""
    if not path.is_file():
        raise CellDataError(f"{path}: no such file; put it there or correct the path.")
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            _check_page(path, tiff, page, max_pixels)
            yield page
    except CellDataError:
        raise
    except Exception as error:
        raise CellDataError(
            f"{path}: cannot be read as a TIFF, it may be truncated or damaged ({error}); "
            "replace it by a whole copy."
        ) from error


def _check_page(path: Path, tiff: tifffile.TiffFile, page: tifffile.TiffPage, limit: int) -> None:
    """Raise CellDataError unless a page is of sane size, whole, and the only one of its size."""
    height, width = page.imagelength, page.imagewidth
    if height < 1 or width < 1 or page.imagedepth != 1 or page.samplesperpixel < 1:
        raise CellDataError(f"{path}: holds no flat image; save one image of H x W pixels.")
    largest = max(height * width, page.tilelength * page.tilewidth)
    if largest > limit:
        raise CellDataError(
            f"{path}: declares {height} x {width} pixels, more than the limit of {limit}; tile the "
            "image, or raise max_pixels if the file can be trusted."
        )
    expected = int(np.prod(page.chunked))
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    end = max((offset + count for offset, count in segments), default=0)
    if len(segments) < expected or not all(count for _, count in segments):
        raise CellDataError(f"{path}: parts of the image are missing; replace it by a whole copy.")
    if end > tiff.filehandle.size:
        raise CellDataError(
            f"{path}: is truncated, {tiff.filehandle.size} of at least {end} bytes are there; "
            "replace it by a whole copy."
        )
    if is_stack(tiff, page):
        raise CellDataError(
            f"{path}: is a stack of several images; save the one image as a file of its own."
        )


def is_stack(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> bool:
    """Tell whether a second image of full size follows, which is not the case for thumbnails."""
    if tiff.is_imagej and (tiff.imagej_metadata or {}).get("images", 1) > 1:
        return True
    try:
        second = tiff.pages[1]
    except IndexError:
        return False
    return second.offset != page.offset and second.shape[:2] == page.shape[:2]


def _decode(path: Path, page: tifffile.TiffPage) -> NDArray[Any]:
    """Decode a page with one thread; loader workers already use all cores."""
    try:
        return page.asarray(maxworkers=1)
    except Exception as error:
        raise CellDataError(
            f"{path}: its {_name(page.compression)} data cannot be decoded, it may be truncated "
            f"or damaged ({error}); replace it by a whole copy."
        ) from error


def _read_pixels(path: Path, max_pixels: int) -> tuple[NDArray[Any], bool]:
    """Read a page as (H, W, 1 or 3) of the file's own type, and tell whether that is 8 bit."""
    with _open_page(path, max_pixels) as page:
        check_colours(path, page)
        pixels = _decode(path, page)
        height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
        if int(page.planarconfig) == 2 and samples > 1:
            pixels = np.moveaxis(pixels.reshape(samples, height, width), 0, 2)
        pixels = pixels.reshape(height, width, samples)[..., : 1 if samples < 3 else 3]
        if pixels.dtype == bool:
            pixels = pixels.astype(np.uint8) * np.uint8(255)
        elif pixels.dtype.kind not in "iuf":
            raise CellDataError(f"{path}: pixel type {pixels.dtype} cannot be used; save uint8.")
        elif pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise CellDataError(
                f"{path}: holds NaN or infinite pixels; replace them by finite values."
            )
        elif int(page.photometric) == 0 and pixels.dtype.kind == "u":
            pixels = np.iinfo(pixels.dtype).max - pixels  # the file counts from white to black
    return pixels, pixels.dtype == np.uint8 and page.bitspersample in (1, 8)


def check_colours(path: Path, page: tifffile.TiffPage) -> None:
    """Raise CellDataError unless a page is grey, RGB or RGBA once decoded."""
    photometric = int(page.photometric)
    is_jpeg = int(page.compression) in JPEG_COMPRESSIONS
    is_usable = photometric in (0, 1, 2) or (photometric == 6 and is_jpeg)
    if not is_usable or page.samplesperpixel > 4:
        raise CellDataError(
            f"{path}: colours are stored as {_name(page.photometric)} with {page.samplesperpixel} "
            "channels; save the image as grey, RGB or RGBA."
        )


def _name(tag_value: Any) -> str:
    """Return the readable name of a TIFF enumeration, or its number where there is none."""
    return str(getattr(tag_value, "name", tag_value))


def map_to_8bit(pixels: NDArray[Any], intensity_range: Any) -> NDArray[np.uint8]:
    """Stretch pixels linearly so that the range's ends become 0 and 255; clip what is outside."""
    if isinstance(intensity_range, Mapping):
        low, high = (float(x) for x in np.percentile(pixels, intensity_range["percentile"]))
    else:
        low, high = (float(limit) for limit in intensity_range)
    if high <= low:
        return np.zeros(pixels.shape, dtype=np.uint8)
    precise = np.float64 if pixels.dtype.itemsize > 2 else np.float32
    scaled = (np.clip(pixels.astype(precise), low, high) - low) * (255 / (high - low))
    return np.rint(scaled).astype(np.uint8)


def _read_unusual_labels(path: Path, values: NDArray[Any]) -> NDArray[np.int32]:
    """Renumber whole numbers beyond int32; raise CellDataError for values that are no labels."""
    kinds: list[tuple[str, NDArray[np.bool_]]] = []
    if values.dtype.kind == "f":
        kinds = [
            ("NaN or infinite", ~np.isfinite(values)),
            ("fractional", np.isfinite(values) & (np.trunc(values) != values)),
        ]
    for kind, is_bad in [*kinds, ("negative", values < 0)]:
        if is_bad.any():
            y, x = np.argwhere(is_bad)[0].tolist()
            raise CellDataError(
                f"{path}: {int(is_bad.sum())} label values are {kind}, the first at row {y}, "
                f"column {x}; save whole numbers, 0 for background and one id a cell."
            )
    found, inverse = np.unique(values, return_inverse=True)
    first_id = 0 if found[0] == 0 else 1
    return (inverse.reshape(values.shape) + first_id).astype(np.int32)
