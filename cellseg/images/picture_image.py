"""Decode PNG, JPEG, BMP and WebP, turned as EXIF says, with all 16 bits where there are so many."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cellseg.errors import CellDataError
from cellseg.images.image_source import GRAY, RGB, ImageSize
from cellseg.images.stored_image import StoredImage, check_declared_bytes

MAX_PICTURE_PIXELS = 2**28
"""Largest declared height x width of a picture, which is always decoded whole."""

PICTURE_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
_GRAY_MODES = {"1", "L", "LA", "La", "I", "F"}  # and 'I;16' in either byte order
_LABEL_MODES = {"1", "L", "P", "I"}
_LOSSLESS = ("PNG", "BMP")
_ORIENTATION = 0x0112
_PNG_MARK, _PNG_DEPTH_AT, _PNG_COLORS = b"\x89PNG\r\n\x1a\n", 24, {2, 4, 6}


class PictureImage(StoredImage):
    """A PNG, JPEG, BMP or WebP; its header is read at once, its pixels when asked for.

    Args:
        path: The file.

    Raises:
        CellDataError: If it is no such file, or declares too many pixels.
    """

    def __init__(self, path: Path) -> None:
        """Read the header; see the class."""
        self.path = path
        with _open_picture(path) as picture:
            height, width = picture.height, picture.width
            if _find_orientation(picture) >= 5:  # a quarter turn
                height, width = width, height
            self.levels = (ImageSize(height, width),)
            self._is_deep_color = _is_deep_color_png(path)
            is_gray = picture.mode in _GRAY_MODES or _is_16_bit_gray(picture)
            is_gray = is_gray or (self._is_deep_color and _png_color(path) == 4)
            self.channels = GRAY if is_gray else RGB
            self.is_8bit = not (self._is_deep_color or _is_16_bit_gray(picture))

    def read_whole(self, level: int, max_pixels: int) -> NDArray[Any]:
        """Decode the picture; see the base class."""
        with _open_picture(self.path, max_pixels) as picture:
            if self._is_deep_color:
                picture.load()  # which finds what is damaged, and a late EXIF chunk
                values = _decode_deep_png(self.path)
            elif self.channels == GRAY:
                convert = picture.mode in ("1", "LA", "La")
                values = np.array(picture.convert("L") if convert else picture)
            else:
                values = np.array(picture.convert("RGB"))
            values = _orient(values, _find_orientation(picture))
        return values.reshape(*values.shape[:2], len(self.channels))


def read_picture_labels(path: Path, max_pixels: int) -> NDArray[Any]:
    """Read a label map (H, W) from a PNG or BMP, turned as EXIF says; a palette is not applied.

    Raises:
        CellDataError: If the file cannot be read, or does not store one number per pixel.
    """
    with _open_picture(path, max_pixels) as picture:
        if picture.format not in _LOSSLESS:
            raise CellDataError(
                f"{path}: is a {picture.format}, which may change the ids of a label map; save it "
                "as 16-bit PNG or TIFF."
            )
        if picture.mode not in _LABEL_MODES and not _is_16_bit_gray(picture):
            raise CellDataError(
                f"{path}: a label map must be gray with one number per pixel, not {picture.mode}; "
                "save one id per cell, as 16-bit PNG or TIFF."
            )
        return _orient(np.array(picture), _find_orientation(picture))


@contextmanager
def _open_picture(path: Path, max_pixels: int | None = None) -> Iterator[Image.Image]:
    """Open a picture whose declared size is possible; any failure is a CellDataError."""
    max_pixels = min(max_pixels or MAX_PICTURE_PIXELS, MAX_PICTURE_PIXELS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF, and of sizes checked below
            with Image.open(path, formats=PICTURE_FORMATS) as picture:
                _check_picture(path, picture, max_pixels)
                yield picture
    except CellDataError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, "more", max_pixels) from error
    except Exception as error:
        raise CellDataError(
            f"{path}: cannot be decoded, it may be truncated or damaged ({error}); replace it with "
            "an intact copy."
        ) from error


def _check_picture(path: Path, picture: Image.Image, max_pixels: int) -> None:
    """Raise CellDataError for a picture too large to decode, or for its file."""
    size = ImageSize(picture.height, picture.width)
    if size.height * size.width > max_pixels:
        raise _too_large(path, f"{size.height} x {size.width}", max_pixels)
    if picture.format in ("PNG", "WEBP") and getattr(picture, "n_frames", 1) > 1:
        raise CellDataError(
            f"{path}: is a stack of several images; save the one image as a file of its own."
        )
    pixel_bytes = 1 if picture.mode in ("1", "L", "P") else 3
    check_declared_bytes(path, size, pixel_bytes, path.stat().st_size)


def _too_large(path: Path, pixels: str, max_pixels: int) -> CellDataError:
    """Say that a picture declares too many pixels."""
    return CellDataError(
        f"{path}: declares {pixels} pixels, more than the limit of {max_pixels}; save it as a "
        "tiled TIFF, which is read in parts, or cut it into tiles."
    )


def _find_orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none."""
    orientation = 1
    with suppress(Exception):  # damaged EXIF tells nothing
        exif = Image.Exif()
        exif.load(picture.info.get("exif") or _find_png_exif(picture))
        orientation = int(exif.get(_ORIENTATION, 1))
    return orientation if 1 <= orientation <= 8 else 1


def _find_png_exif(picture: Image.Image) -> bytes:
    """Return the EXIF chunk of a PNG, which Pillow misses where it follows the pixels."""
    if picture.format != "PNG":
        return b""
    with Path(getattr(picture, "filename", "")).open("rb") as file:
        file.seek(len(_PNG_MARK))
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"eXIf":
                return file.read(length)
            file.seek(length + 4, os.SEEK_CUR)
    return b""


def _orient(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn and flip (H, W, ...) as an EXIF orientation says."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def _is_16_bit_gray(picture: Image.Image) -> bool:
    """Return whether a picture is gray with more than 8 bits."""
    return picture.mode.startswith("I;16") or picture.mode in ("I", "F")


def _is_deep_color_png(path: Path) -> bool:
    """Return whether a file is a PNG of 16 bits with color or alpha, of which Pillow keeps 8."""
    with path.open("rb") as file:
        head = file.read(_PNG_DEPTH_AT + 2)
    is_png = head.startswith(_PNG_MARK) and len(head) == _PNG_DEPTH_AT + 2
    return is_png and head[_PNG_DEPTH_AT] == 16 and head[_PNG_DEPTH_AT + 1] in _PNG_COLORS


def _png_color(path: Path) -> int:
    """Return the color type of a PNG: 2 for RGB, 4 for gray with alpha, 6 for RGB with alpha."""
    with path.open("rb") as file:
        return file.read(_PNG_DEPTH_AT + 2)[-1]


def _strip_png(content: bytes) -> bytes:
    """Leave out the chunks of a PNG that are no pixels; libpng writes its doubts of them out."""
    parts, place = [_PNG_MARK], len(_PNG_MARK)
    while place + 8 <= len(content):
        end = place + 12 + int.from_bytes(content[place : place + 4], "big")
        if content[place + 4 : place + 5].isupper():
            parts.append(content[place:end])
        place = end
    return b"".join(parts)


def _decode_deep_png(path: Path) -> NDArray[Any]:
    """Decode a PNG of 16 bits with color or alpha as (H, W, 1 or 3) uint16 gray or R, G, B."""
    content = np.frombuffer(_strip_png(path.read_bytes()), dtype=np.uint8)
    values = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)  # B, G, R or B, G, R, A
    if values is None or values.dtype != np.uint16:
        raise ValueError("its 16-bit pixels cannot be decoded")
    if _png_color(path) == 4:
        return values[..., :1]
    return values[..., 2::-1]
