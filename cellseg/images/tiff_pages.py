"""Find the pages of a TIFF that make up its image, and check them before a pixel is decoded.

Every file is suspect: its declared size is bounded, its strips and tiles must lie inside the file,
and any failure is a `CellDataError` naming the file and how to fix it. cv2 is not used: it drops
channels, reorders them and refuses float label maps.
"""

from __future__ import annotations

import logging
import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.images.image_source import GRAY, RGB, ImageSize
from cellseg.images.stored_image import check_declared_bytes, check_size

JPEG_COMPRESSIONS = {6, 7, 33007, 34892}
_ALPHA = {1, 2}  # ExtraSamples: associated and unassociated alpha
_BLACK_OR_WHITE, _RGB, _YCBCR = (0, 1), 2, 6
_MOST_LISTED = 1_000  # pages in a file, which holds one image
_PLANE_PRODUCTS = (("SizeC", "SizeZ", "SizeT"), ("PlaneCount",), ("NumPlanes",), ("c", "z"))
_PLANE_COUNTS = [name for names in _PLANE_PRODUCTS for name in names]
_MOST_PLANES = 10**6
_MOST_PAGES = 100  # that are read: levels, labels and thumbnails are fewer

# What it logs of odd tags is said, where it matters, by an error that names the file.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a TIFF, and nothing else: OME metadata may name further files anywhere.

    Raises:
        CellDataError: If its list of pages is far too long, or leads back to itself.
    """
    tiff = tifffile.TiffFile(path, _multifile=False)
    try:
        _follow_pages(path, tiff)
    except BaseException:
        tiff.close()
        raise
    return tiff


def _follow_pages(path: Path, tiff: tifffile.TiffFile) -> None:
    """Raise CellDataError where a page is followed by one before it, or there is no end of them.

    Each page tells where the next one is; tifffile walks on without looking back.
    """
    layout, file = tiff.tiff, tiff.filehandle
    offset, seen = int(tiff.pages.first.offset), set[int]()
    while 0 < offset < file.size:
        if offset in seen or len(seen) >= _MOST_LISTED:
            raise CellDataError(
                f"{path}: holds more than {_MOST_LISTED} pages, or its list of pages leads back to "
                "itself; save the one image as a file of its own."
            )
        seen.add(offset)
        file.seek(offset)
        head = file.read(layout.tagnosize)
        if len(head) < layout.tagnosize:
            return
        tags = layout.tagsize * struct.unpack(layout.tagnoformat, head)[0]
        file.seek(offset + layout.tagnosize + tags)
        following = file.read(layout.offsetsize)
        if len(following) < layout.offsetsize:
            return
        offset = struct.unpack(layout.offsetformat, following)[0]


@contextmanager
def as_data_error(path: Path) -> Iterator[None]:
    """Turn any failure of reading a TIFF into a CellDataError."""
    try:
        yield
    except CellDataError:
        raise
    except Exception as error:
        raise CellDataError(
            f"{path}: cannot be read as a TIFF, it may be truncated or damaged ({error}); "
            "replace it with an intact copy."
        ) from error


def find_pages(path: Path, tiff: tifffile.TiffFile) -> list[Any]:
    """List the pages of the image at each resolution, finest first.

    Args:
        path: The file, for messages.
        tiff: The file, open.

    Returns:
        At least one page. Thumbnails, labels and overview images are not among them.

    Raises:
        CellDataError: If it holds no image, or several of which none is the image.
    """
    first = tiff.pages.first
    num_below = len(first.subifds or ())
    if not num_below and not _has_second_page(tiff):
        return [first]
    if num_below > _MOST_PAGES:
        raise CellDataError(
            f"{path}: its first page has {num_below} pages below it; a pyramid has at "
            f"most {_MOST_PAGES} levels, save it again."
        )
    _check_planes(path, first.description)
    series = _main_series(path, tiff) if tiff.is_scn else tiff.series[0]
    found: list[Any] = [level.pages[0] for level in series.levels]
    return [page.aspage() for page in found] or [first]


def is_level_of(page: Any, finest: Any) -> bool:
    """Return whether a page shows the whole of a finer one, in values of the same type.

    Levels are rounded to whole pixels, or filled up to whole tiles.
    """
    if page.dtype != finest.dtype or page.samplesperpixel != finest.samplesperpixel:
        return False
    size, whole = size_of(page), size_of(finest)
    if min(size) < 1 or size.width > whole.width or size.height > whole.height:
        return False
    across, down = whole.width / size.width, whole.height / size.height
    slack = max(page.tilewidth, page.tilelength, 1) if page.is_tiled else 1
    return abs(size.height - whole.height / across) <= slack or (
        abs(size.width - whole.width / down) <= slack
    )


def _check_planes(path: Path, text: str) -> None:
    """Raise CellDataError for OME or Leica metadata of far more planes than a file can list.

    tifffile makes a list of all of them, whatever the file holds.
    """
    most = dict.fromkeys(_PLANE_COUNTS, 1)
    for name, number in re.findall(rf"\b({'|'.join(_PLANE_COUNTS)})\s*=\s*[\"'](\d+)", text):
        most[name] = max(most[name], int(number[:9]))
    planes = max(math.prod(most[name] for name in names) for names in _PLANE_PRODUCTS)
    if planes > _MOST_PLANES or "ModuloAlong" in text:
        raise CellDataError(
            f"{path}: is a stack of several images by its metadata; save the one image as a file "
            "of its own."
        )


def _has_second_page(tiff: tifffile.TiffFile) -> bool:
    """Return whether a TIFF has more than one page, without reading them all."""
    try:
        return tiff.pages[1] is not None
    except IndexError:
        return False


def _main_series(path: Path, tiff: tifffile.TiffFile) -> Any:
    """Choose the scan of a Leica SCN, which begins with an overview of the whole slide."""
    coarsest_first = sorted(tiff.series, key=_pixels_per_resolution)
    scan = coarsest_first[-1]
    resolution = _resolution(scan)
    if len([series for series in tiff.series if _resolution(series) == resolution]) > 1:
        raise CellDataError(
            f"{path}: holds several scans side by side, which need OpenSlide, the extra slides "
            "(pip install openslide-python openslide-bin); install it, or export one scan as a "
            "tiled TIFF."
        )
    return scan


def _resolution(series: Any) -> float:
    """Return the pixels per unit of a series' finest page; 0 where it does not tell."""
    tag = series.levels[0].pages[0].aspage().tags.get("XResolution")
    return tag.value[0] / tag.value[1] if tag is not None and tag.value[1] else 0.0


def _pixels_per_resolution(series: Any) -> tuple[float, int]:
    """Return what the finest series has most of: pixels per unit, then pixels."""
    page = series.levels[0].pages[0].aspage()
    return _resolution(series), page.imagelength * page.imagewidth


def size_of(page: Any) -> ImageSize:
    """Return a page's height and width in pixels."""
    return ImageSize(int(page.imagelength), int(page.imagewidth))


def check_page(
    path: Path,
    tiff: tifffile.TiffFile,
    page: Any,
    max_pixels: int | None = None,
    may_be_sparse: bool = False,
) -> None:
    """Check that a page is flat, of a possible size, whole, and the only one of its size.

    Args:
        path: The file, for messages.
        tiff: The file, open.
        page: The page.
        max_pixels: Largest height x width and tile; None where only regions are decoded.
        may_be_sparse: Whether tiles may be absent.

    Raises:
        CellDataError: If it is not.
    """
    size = size_of(page)
    if min(size) < 1 or page.imagedepth != 1 or page.samplesperpixel < 1:
        raise CellDataError(f"{path}: holds no flat image; save one image of H x W pixels.")
    if max_pixels is not None:
        tile = page.tilelength * page.tilewidth
        largest = size if size.height * size.width >= tile else (page.tilelength, page.tilewidth)
        check_size(path, ImageSize(*largest), max_pixels)
    itemsize = page.dtype.itemsize if page.dtype is not None else 1
    check_declared_bytes(path, size, page.samplesperpixel * itemsize, tiff.filehandle.size)
    _check_segments(path, tiff, page, may_be_sparse)
    if _is_stack(tiff):
        raise CellDataError(
            f"{path}: is a stack of several images; save the one image as a file of its own."
        )


def _check_segments(path: Path, tiff: tifffile.TiffFile, page: Any, may_be_sparse: bool) -> None:
    """Raise CellDataError unless all strips or tiles lie inside the file."""
    expected = math.prod(page.chunked)
    count = min(len(page.dataoffsets), len(page.databytecounts))
    ends = [
        offset + length
        for offset, length in zip(page.dataoffsets, page.databytecounts, strict=False)
        if length
    ]
    if count < expected or (len(ends) < count and not may_be_sparse):
        raise CellDataError(
            f"{path}: parts of the image are missing; replace it with an intact copy."
        )
    end = max(ends, default=0)
    if end > tiff.filehandle.size:
        raise CellDataError(
            f"{path}: is truncated, {tiff.filehandle.size} of at least {end} bytes are there; "
            "replace it with an intact copy."
        )


def _is_stack(tiff: tifffile.TiffFile) -> bool:
    """Return whether another image of full size follows, which thumbnails do not have."""
    page = tiff.pages.first
    if tiff.is_imagej and (tiff.imagej_metadata or {}).get("images", 1) > 1:
        return True
    if any(
        other.offset != page.offset and other.shape[:2] == page.shape[:2]
        for other in _further_pages(tiff)
    ):
        return True
    # ImageJ, MetaMorph, Zeiss and tifffile itself write many planes behind one page.
    is_special = tiff.is_imagej or tiff.is_stk or tiff.is_lsm or tiff.is_shaped
    return is_special and math.prod(tiff.series[0].shape) > math.prod(page.shape)


def check_finest(path: Path, tiff: tifffile.TiffFile, page: Any) -> None:
    """Raise CellDataError where a file holds a larger image than the page that is its image."""
    size = size_of(page)
    for other in _further_pages(tiff):
        height, width = size_of(other.aspage())
        if height > size.height and width > size.width:
            raise CellDataError(
                f"{path}: its first image is of {size.height} x {size.width} pixels and a later "
                f"one of {height} x {width}; save the one image as a file of its own."
            )


def _further_pages(tiff: tifffile.TiffFile) -> Iterator[Any]:
    """Yield the pages after the first one, as many as are read."""
    for index in range(1, _MOST_PAGES):
        try:
            yield tiff.pages[index]
        except IndexError:
            return


def find_channels(path: Path, page: Any) -> tuple[str, ...]:
    """Find what a page stores for each pixel, alpha left aside.

    Only samples that the file declares as alpha, and the fourth of RGB, are no channels.

    Args:
        path: The file, for messages.
        page: The page.

    Returns:
        GRAY or RGB; they are the page's first samples.

    Raises:
        CellDataError: If it stores anything else.
    """
    photometric, count = int(page.photometric), int(page.samplesperpixel)
    is_jpeg = int(page.compression) in JPEG_COMPRESSIONS
    if photometric == _RGB or (photometric == _YCBCR and is_jpeg):
        if count in (1, 3, 4):
            return GRAY if count == 1 else RGB
    elif photometric in _BLACK_OR_WHITE:
        alphas = [kind for kind in map(int, page.extrasamples) if kind in _ALPHA]
        if len(alphas) <= 1 and count - len(alphas) in (1, 3):
            return GRAY if count - len(alphas) == 1 else RGB
        raise CellDataError(
            f"{path}: is a stack of {count} channels that are neither gray nor RGB; save the "
            "channels to use as one gray or RGB image."
        )
    raise CellDataError(
        f"{path}: colors are stored as {tag_name(page.photometric)} with {count} channels; save "
        "the image as gray, RGB or RGBA."
    )


def decode_page(path: Path, page: Any) -> NDArray[Any]:
    """Decode a whole page as (H, W, samples) of the file's own type.

    Raises:
        CellDataError: If it is damaged.
    """
    try:
        values = page.asarray(maxworkers=1)  # loader workers already use all cores
    except Exception as error:
        raise CellDataError(
            f"{path}: its {tag_name(page.compression)} data cannot be decoded, it may be truncated "
            f"or damaged ({error}); replace it with an intact copy."
        ) from error
    (height, width), samples = size_of(page), page.samplesperpixel
    if int(page.planarconfig) == 2 and samples > 1:
        return np.moveaxis(values.reshape(samples, height, width), 0, 2)
    return values.reshape(height, width, samples)


def tag_name(value: Any) -> str:
    """Return the readable name of a TIFF enumeration, or its number where there is none."""
    return str(getattr(value, "name", value))
