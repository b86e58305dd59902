"""Read the pixel size of a TIFF from its OME, Aperio or ImageJ metadata or its resolution tags."""

from __future__ import annotations

import html
import re
from typing import Any

import tifffile

from cellseg.images.stored_image import PixelSize, settle_pixel_size

# Lengths of the OME schema in micrometers; names differ in case only, as in mm and Mm.
_METRIC = {
    **{"Ym": 1e30, "Zm": 1e27, "Em": 1e24, "Pm": 1e21, "Tm": 1e18, "Gm": 1e15, "Mm": 1e12},
    **{"km": 1e9, "hm": 1e8, "dam": 1e7, "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "\u00b5m": 1.0},
    **{"nm": 1e-3, "pm": 1e-6, "fm": 1e-9, "am": 1e-12, "zm": 1e-15, "ym": 1e-18},
    **{"\u00c5": 1e-4, "ua": 149597870700e6, "ly": 9460730472580800e6, "pc": 3.0856776e22},
}
_IMPERIAL = {
    **{"thou": 25.4, "li": 25400 / 12, "in": 25400.0, "ft": 304800.0, "yd": 914400.0},
    **{"mi": 1609344e3, "pt": 25400 / 72},
}
_OTHER_NAMES = {
    **dict.fromkeys(("um", "micron", "micrometer", "micrometer"), 1.0),
    **dict.fromkeys(("nanometer", "nanometre"), 1e-3),
    **dict.fromkeys(("millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("centimeter", "centimetre"), 1e4),
    **dict.fromkeys(("meter", "metre"), 1e6),
    **{"inch": 25400.0, "inche": 25400.0, "angstrom": 1e-4},
}
_LENGTHS = {**_METRIC, **_IMPERIAL, **_OTHER_NAMES}
_NO_UNITS = {"", "pixel", "pixels"}
_TAG_UNITS = {2: 2.54e4, 3: 1e4}  # inch, centimeter
_INCH = 2


def read_tiff_pixel_size(tiff: tifffile.TiffFile, page: Any) -> PixelSize:
    """Read the pixel size of a page.

    Args:
        tiff: The file, open.
        page: Its page of the finest resolution.

    Returns:
        The first size that makes sense of what OME metadata, Aperio's MPP, ImageJ's unit and the
        resolution tags tell; without a size, the note of the first of them that tells anything.
    """
    notes = []
    for size in (_from_ome(tiff.ome_metadata), _from_aperio(page), _from_resolution(page, tiff)):
        if size is not None and size.x_um is not None:
            return size
        if size is not None:
            notes.append(size)
    return notes[0] if notes else PixelSize()


def _from_ome(text: str | None) -> PixelSize | None:
    """Find the pixel size in OME metadata, in any unit of the schema; the default is micrometer."""
    found = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", text or "")
    attributes = found.group() if found else ""
    given: dict[str, str] = dict(re.findall(r'(PhysicalSize[XY](?:Unit)?)="([^"]*)"', attributes))
    if "PhysicalSizeX" not in given:
        return None
    size = given["PhysicalSizeX"]
    x_unit = html.unescape(given.get("PhysicalSizeXUnit", "\u00b5m"))
    y_unit = html.unescape(given.get("PhysicalSizeYUnit", x_unit))
    x, y = _to_um(size, x_unit), _to_um(given.get("PhysicalSizeY", size), y_unit)
    if x is None or y is None:
        unit = x_unit if x is None else y_unit
        return PixelSize(note=f"the OME metadata give a pixel size in {unit!r}, not a length")
    return settle_pixel_size(x, y, "the OME metadata")


def _from_aperio(page: Any) -> PixelSize | None:
    """Find the MPP of Aperio's description; nothing where it is not a number, such as 0.5.4."""
    found = re.search(r"MPP\s*=\s*([\d.]+)", page.description)
    size = _to_number(found.group(1)) if found else None
    return None if size is None else settle_pixel_size(size, size, "Aperio's metadata")


def _from_resolution(page: Any, tiff: tifffile.TiffFile) -> PixelSize | None:
    """Compute the pixel size from the resolution tags, in ImageJ's unit where there is one."""
    x, y = (_invert(page.tags.get(name)) for name in ("XResolution", "YResolution"))
    if x is None:
        return None
    unit = str((tiff.imagej_metadata or {}).get("unit", "")) if tiff.is_imagej else ""
    unit = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code.group(1), 16)), unit).strip()
    if unit.lower() not in _NO_UNITS:
        factor = _find_length(unit)
        if factor is None:
            return PixelSize(note=f"ImageJ's metadata give a pixel size in {unit!r}, not a length")
        return settle_pixel_size(x * factor, (y or x) * factor, "ImageJ's metadata")
    tag = page.tags.get("ResolutionUnit")
    value = _INCH if tag is None else tag.value
    factor = _TAG_UNITS.get(value) if isinstance(value, int) else None
    if factor is None:
        return None
    return settle_pixel_size(x * factor, (y or x) * factor, "the resolution tags")


def _invert(tag: Any) -> float | None:
    """Return the units per pixel of a resolution tag; None where it tells nothing."""
    value = None if tag is None else tag.value
    dots, units, *_ = (*value, 1) if isinstance(value, tuple) and value else (value, 1)
    if not all(isinstance(number, int | float) and number > 0 for number in (dots, units)):
        return None
    return units / dots


def _to_um(text: str, unit: str) -> float | None:
    """Convert a length to micrometers; None where number or unit is none."""
    factor, number = _find_length(unit), _to_number(text)
    return None if factor is None or number is None else number * factor


def _find_length(unit: str) -> float | None:
    """Return a unit in micrometers; Greek mu and micro sign are the same."""
    name = unit.strip().replace("\u03bc", "\u00b5").replace("\u212b", "\u00c5")
    name = name.removeprefix("\u00c2")  # UTF-8 that was read as Latin-1
    if name.startswith("\u00b5") and name != "\u00b5m":
        return 1.0 if name in ("\u00b5", "\u00b5meter") else None
    return _LENGTHS.get(name) or _OTHER_NAMES.get(name.lower().removesuffix("s"))


def _to_number(text: str) -> float | None:
    """Read a number; None where it is none."""
    try:
        return float(text)
    except ValueError:
        return None
