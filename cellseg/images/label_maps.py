"""Read label maps from TIFF, PNG and BMP: 0 is background, each other value one cell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.images.eight_bit import DEFAULT_MAX_PIXELS
from cellseg.images.kinds import PICTURE_SUFFIXES, find_kind, require_file
from cellseg.images.picture_image import read_picture_labels
from cellseg.images.tiff_pages import as_data_error, check_page, decode_page, open_tiff

_TOO_LARGE = 2**31
_BAND_ROWS = 64


def read_label_map(path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[np.int32]:
    """Read a label map: 0 is background, each other value one cell.

    Args:
        path: Single-channel TIFF of any integer type, or of floats that are whole numbers; or a
            gray PNG or BMP.
        max_pixels: Largest height x width that is decoded, in pixels.

    Returns:
        (H, W) int32. Ids are those of the file; only where one exceeds 2,147,483,647 are all of
        them replaced by 1, 2, ... in ascending order.

    Raises:
        CellDataError: If the file cannot be read, or a value is fractional, negative or not finite.
    """
    path = Path(path)
    require_file(path)
    kind = find_kind(path)
    if kind == "picture" or (kind is None and path.suffix.lower() in PICTURE_SUFFIXES):
        values = read_picture_labels(path, max_pixels)
    else:
        values = _read_tiff_labels(path, max_pixels)
    if values.dtype.kind not in "biuf":
        raise CellDataError(
            f"{path}: label values of type {values.dtype} cannot be used; save whole numbers."
        )
    if not _fits_int32(values):
        return _read_unusual_labels(path, values)
    return _to_int32(values)


def _fits_int32(values: NDArray[Any]) -> bool:
    """Return whether values are whole numbers from 0 to the largest int32; needs little memory."""
    if not values.size:
        return True
    if not (float(values.min()) >= 0 and float(values.max()) < _TOO_LARGE):  # false for NaN, too
        return False
    return values.dtype.kind != "f" or all(
        (np.trunc(band) == band).all() for band in _split(values)
    )


def _to_int32(values: NDArray[Any]) -> NDArray[np.int32]:
    """Turn values that fit into int32, in their own memory where that is as large: it is much."""
    is_alike = values.dtype.itemsize == 4 and values.dtype.isnative
    if not is_alike or not values.flags.c_contiguous or not values.flags.writeable:
        return values.astype(np.int32)
    converted = values.view(np.int32)
    for band, stored in zip(_split(converted), _split(values), strict=True):
        band[:] = stored.astype(np.int32)
    return converted


def _split(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Split into bands of rows, of which a copy is small."""
    for start in range(0, len(values), _BAND_ROWS):
        yield values[start : start + _BAND_ROWS]


def check_labels(values: NDArray[Any], origin: str) -> NDArray[np.int64]:
    """Turn label values into int64.

    Args:
        values: Label map of any number type.
        origin: Where it comes from, for the message.

    Raises:
        CellDataError: If a value is negative, fractional or not finite.
    """
    with np.errstate(invalid="ignore"):
        labels = values.astype(np.int64)
    if values.size and ((labels < 0).any() or not np.array_equal(labels, values)):
        raise CellDataError(
            f"{origin}: label values are negative, fractional or not finite; save whole numbers, 0 "
            "for background and one id per cell."
        )
    return labels


def _read_tiff_labels(path: Path, max_pixels: int) -> NDArray[Any]:
    """Decode the first page of a TIFF as (H, W) of the file's own type."""
    with as_data_error(path), open_tiff(path) as tiff:
        page = tiff.pages.first
        check_page(path, tiff, page, max_pixels)
        if page.samplesperpixel != 1:
            raise CellDataError(
                f"{path}: a label map must have one channel, not {page.samplesperpixel}; save one "
                "number per pixel, 0 for background and one id per cell."
            )
        return decode_page(path, page)[..., 0]


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
                f"column {x}; save whole numbers, 0 for background and one id per cell."
            )
    found, inverse = np.unique(values, return_inverse=True)
    first_id = 0 if found[0] == 0 else 1
    return (inverse.reshape(values.shape) + first_id).astype(np.int32)
