"""Find out what kind of image a file is: by its content and, for slides, by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cellseg.errors import CellDataError
from cellseg.images.picture_image import PictureImage
from cellseg.images.slide_image import SlideImage
from cellseg.images.stored_image import StoredImage
from cellseg.images.tiff_image import TiffImage

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
TIFF_SLIDE_SUFFIXES = (".svs", ".ndpi", ".scn", ".bif", ".qptiff")
SLIDE_SUFFIXES = (*TIFF_SLIDE_SUFFIXES, ".mrxs", ".vms", ".vmu")
IMAGE_SUFFIXES = (".tif", ".tiff", ".svs", ".png", ".jpg", ".jpeg", ".bmp", ".btf", ".tf8", ".webp")
"""Names of the images of a data set; where several share a name the first suffix is taken."""

_READABLE_SUFFIXES = {*IMAGE_SUFFIXES, *SLIDE_SUFFIXES}
_TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURE_MARKS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM")
_LONGEST_MARK = 12

Kind = Literal["tiff", "picture"]


def find_kind(path: Path) -> Kind | None:
    """Return whether a file's first bytes are those of a TIFF or a picture; None for others."""
    with path.open("rb") as file:
        head = file.read(_LONGEST_MARK)
    if head.startswith(_TIFF_MARKS):
        return "tiff"
    is_webp = head.startswith(b"RIFF") and head[8:] == b"WEBP"
    return "picture" if is_webp or head.startswith(_PICTURE_MARKS) else None


def is_readable_name(path: Path) -> bool:
    """Return whether a file is, by its name, an image that can be read."""
    return path.suffix.lower() in _READABLE_SUFFIXES


def require_file(path: Path) -> None:
    """Raise CellDataError where there is no such file."""
    if not path.is_file():
        raise CellDataError(f"{path}: no such file; put it there or correct the path.")


def open_stored(
    path: Path, max_pixels: int | None = None, use_openslide: bool = True
) -> StoredImage:
    """Open an image file of any kind.

    Args:
        path: TIFF, slide, PNG, JPEG, BMP or WebP; its content counts, whatever its name.
        max_pixels: Largest height x width that is accepted; None where regions will be read.
        use_openslide: Whether slides that are TIFFs are read through OpenSlide, where it is
            installed.

    Returns:
        The image, open.

    Raises:
        CellDataError: If it is none of these, or damaged.
    """
    require_file(path)
    suffix, kind = path.suffix.lower(), find_kind(path)
    if suffix in SLIDE_SUFFIXES and not (kind == "tiff" and not use_openslide):
        slide = _try_openslide(path, kind)
        if slide is not None:
            return slide
    if kind == "tiff":
        return TiffImage(path, max_pixels, suffix in TIFF_SLIDE_SUFFIXES)
    if kind == "picture" or suffix in PICTURE_SUFFIXES:
        return PictureImage(path)
    if suffix in (*TIFF_SUFFIXES, *TIFF_SLIDE_SUFFIXES):
        return TiffImage(path, max_pixels)  # which says what is wrong with it
    slide = _try_openslide(path, kind) if suffix not in SLIDE_SUFFIXES else None
    if slide is not None:
        return slide
    raise _unknown(path)


def _try_openslide(path: Path, kind: Kind | None) -> SlideImage | None:
    """Open a slide; None where OpenSlide is not installed or another reader may know the file."""
    try:
        import openslide
    except (ImportError, OSError):
        return None
    if path.suffix.lower() not in SLIDE_SUFFIXES and not openslide.OpenSlide.detect_format(path):
        return None
    try:
        return SlideImage(path)
    except CellDataError:
        if kind == "tiff" or path.suffix.lower() in TIFF_SLIDE_SUFFIXES:
            return None
        raise


def _unknown(path: Path) -> CellDataError:
    """Say that a file is of no known kind or, for a slide, what would read it."""
    if path.suffix.lower() in SLIDE_SUFFIXES:
        return CellDataError(
            f"{path}: this kind of file needs OpenSlide, the extra slides (pip install "
            "openslide-python openslide-bin); install it, or save the image as a tiled TIFF."
        )
    return CellDataError(
        f"{path}: is an unknown kind of file; save the image as a TIFF, PNG, JPEG, BMP or WebP."
    )
