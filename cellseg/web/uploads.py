"""Untrusted uploads: everything about them is checked before a pixel is decoded.

Pictures are decoded whole, so their size is limited; TIFFs that are cut into tiles or strips are
read in parts, so that only the parts' size is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import tifffile
from PIL import Image, UnidentifiedImageError

from cellseg.errors import CellDataError
from cellseg.images import read_image_size
from cellseg.images.kinds import find_kind
from cellseg.images.tiff_pages import (
    JPEG_COMPRESSIONS,
    find_channels,
    find_pages,
    open_tiff,
)

_PICTURE_SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "BMP": ".bmp"}
_ANY_SIZE = 2**62
READ_WHOLE_PX = 2**24
"""Up to this size, an image is decoded whole all the same; see `cellseg.images.opening`."""
# What their decoders are told never to exceed: none, LZW, deflate, PackBits; JPEG is looked into.
_BOUNDED_COMPRESSIONS = {1, 5, 8, 32773, 32946}
_LARGEST_SAMPLE_BYTES = 8
_SCAN, _END = 0xDA, 0xD9
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, 0xD8, *range(0xD0, 0xD8)}  # markers without a length


@dataclass(frozen=True)
class UploadLimits:
    """How large an image may be.

    Attributes:
        max_bytes: Size of the file.
        max_pixels: Height x width of what is decoded at once: a picture, or a part of a TIFF.
        max_slide_pixels: Height x width of a TIFF that is read in parts.
    """

    max_bytes: int = 2**30
    max_pixels: int = 2**26
    max_slide_pixels: int = 2**34

    def describe(self) -> str:
        """Say the limits in words."""
        return (
            f"{self.max_bytes / 2**20:.0f} MiB; pictures up to {self.max_pixels / 1e6:.0f} million "
            "pixels"
        )


def check_upload(path: Path, name: str, limits: UploadLimits) -> str:
    """Check a file's size, kind and declared dimensions, without decoding it.

    Args:
        path: The file.
        name: What its sender calls it, for the messages.
        limits: How large it may be.

    Returns:
        The suffix that belongs to its content, such as ".tif".

    Raises:
        CellDataError: If it is no image, is broken, or is too large.
    """
    size = path.stat().st_size
    if size == 0:
        raise CellDataError(f"{name} is empty; drop the image itself.")
    if size > limits.max_bytes:
        raise CellDataError(
            f"{name} has {size / 2**20:,.1f} MiB, more than the limit of "
            f"{limits.max_bytes / 2**20:.3g} MiB; start the page with the file itself: "
            f"cellseg web FILE."
        )
    if find_kind(path) != "tiff":
        return _check_picture(path, name, limits)
    try:
        height, width = read_image_size(path, _ANY_SIZE)
        if height * width > limits.max_slide_pixels:
            raise CellDataError(_too_large(name, f"{width:,} x {height:,}", limits))
        with open_tiff(path) as tiff:
            for page in find_pages(path, tiff):  # a viewer reads every level
                _check_segments(name, page, limits)
    except CellDataError as error:
        raise CellDataError(str(error).replace(str(path), name)) from error
    except Exception as error:
        raise CellDataError(f"{name}: is a damaged TIFF ({error}); save it again.") from error
    return ".tif"


def _check_picture(path: Path, name: str, limits: UploadLimits) -> str:
    """Check a PNG, JPEG or BMP by its header; return its suffix."""
    try:
        with Image.open(path, formats=("PNG", "JPEG", "BMP")) as image:
            width, height = image.size
            suffix = _PICTURE_SUFFIXES[str(image.format)]
    except Image.DecompressionBombError as error:
        raise CellDataError(_too_large(name, "far too many", limits)) from error
    except UnidentifiedImageError as error:
        raise CellDataError(
            f"{name} is not an image that can be read here; drop a TIFF, PNG, JPEG or BMP."
        ) from error
    except Exception as error:
        raise CellDataError(f"{name} is damaged ({error}); save the image again.") from error
    _check_size(name, height, width, limits)
    return suffix


def _check_size(name: str, height: int, width: int, limits: UploadLimits) -> None:
    """Raise CellDataError if an image declares too many pixels."""
    if height * width > limits.max_pixels:
        raise CellDataError(_too_large(name, f"{width:,} x {height:,}", limits))


def _too_large(name: str, pixels: str, limits: UploadLimits) -> str:
    """Say that an image has too many pixels."""
    return (
        f"{name} has {pixels} pixels, more than the limit of {limits.max_pixels / 1e6:.3g} million "
        "pixels; save it as a tiled TIFF, which is read in parts."
    )


def _check_segments(name: str, page: tifffile.TiffPage, limits: UploadLimits) -> None:
    """Raise CellDataError if a TIFF's strips or tiles could become larger than its tags say."""
    find_channels(Path(name), page)
    samples = math.prod(page.chunks)
    itemsize = page.dtype.itemsize if page.dtype is not None else _LARGEST_SAMPLE_BYTES
    whole = min(page.imagelength * page.imagewidth, READ_WHOLE_PX) * page.samplesperpixel
    if max(samples, whole) * itemsize > limits.max_pixels * _LARGEST_SAMPLE_BYTES:
        raise CellDataError(
            f"{name} takes too much memory once decoded; save it as a tiled TIFF of 8-bit RGB."
        )
    compression = int(page.compression)
    if compression in _BOUNDED_COMPRESSIONS:
        return
    if compression not in JPEG_COMPRESSIONS:
        raise CellDataError(
            f"{name} is compressed as {getattr(page.compression, 'name', compression)}, which is "
            "not read here; save it uncompressed or with deflate, LZW or JPEG."
        )
    if page.jpegtables is not None and _jpeg_pixels(page.jpegtables) is not None:
        raise CellDataError(f"{name}: its JPEG tables hold an image; save the TIFF again.")
    file = page.parent.filehandle
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        file.seek(offset)
        pixels = _jpeg_pixels(file.read(count))
        if pixels is None or pixels > samples:
            raise CellDataError(
                f"{name} holds JPEG data of another size than the TIFF says; save it again."
            )


def _jpeg_pixels(content: bytes) -> int | None:
    """Read height x width from the frame header of a JPEG; None where there is none."""
    place = 0
    while (place := content.find(b"\xff", place)) >= 0 and place + 4 <= len(content):
        marker = content[place + 1]
        if marker in (0x00, 0xFF):
            place += 1
        elif marker in _ALONE:
            place += 2
        elif marker in _FRAMES:
            height, width = content[place + 5 : place + 7], content[place + 7 : place + 9]
            return int.from_bytes(height, "big") * int.from_bytes(width, "big")
        elif marker in (_SCAN, _END):
            return None
        else:
            place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return None
