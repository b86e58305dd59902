"""Label TIFFs: one number per cell, in one file for all classes and in one per class."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cellseg.fileio import write_atomically
from cellseg.images import ImageSource
from cellseg.palette import Color
from cellseg.structures.cells import Cells

_ROWS_PER_STRIP = 256


def paint_strips(
    cells: Cells, numbers: NDArray[Any], rows_per_strip: int = _ROWS_PER_STRIP
) -> Iterator[NDArray[Any]]:
    """Paint cells into a label map, strip by strip, so that memory stays that of a strip.

    Where cells overlap the higher score wins, then the earlier cell.

    Args:
        cells: N cells of one image; may be empty.
        numbers: (N,) the value painted for each cell; the dtype of the strips is theirs.
        rows_per_strip: Height of a strip in pixels; the last one may be lower.

    Yields:
        (h, width) strips from top to bottom.
    """
    order = np.lexsort((-np.arange(len(cells)), cells.confidences))  # painted last wins
    boxes, _ = cells.measure()
    by_top = order[np.argsort(boxes[order, 1], kind="stable")]
    tops = boxes[by_top, 1]
    rank = np.empty(len(cells), dtype=np.int64)
    rank[order] = np.arange(len(cells))
    tallest = int((boxes[:, 3] - boxes[:, 1]).max()) if len(cells) else 0
    for top in range(0, cells.height, rows_per_strip):
        bottom = min(top + rows_per_strip, cells.height)
        first, last = np.searchsorted(tops, (top - tallest, bottom))
        inside = by_top[first:last]
        inside = inside[boxes[inside, 3] > top]
        inside = inside[np.argsort(rank[inside])]
        strip = np.zeros((bottom - top, cells.width), dtype=numbers.dtype)
        values = numbers[inside].tolist()
        for (mask, x0, y0), value in zip(cells[inside].crops(), values, strict=True):
            skipped = max(top - y0, 0)
            part = mask[skipped : bottom - y0]
            row = y0 + skipped - top
            strip[row : row + part.shape[0], x0 : x0 + part.shape[1]][part] = value
        yield strip


def write_label_tiffs(
    cells: Cells, path: str | Path, image: ImageSource | None = None, palette: Sequence[Color] = ()
) -> dict[str, Any]:
    """Write the combined label map and one label map per class.

    Cell i of the cells has the number i + 1 in both. The files are striped, deflated, and uint16,
    or uint32 beyond 65,535 cells. ImageJ and Fiji have no 32-bit integers: they show uint32 as
    32-bit floats, which hold every number up to 2^24 as it is.

    Args:
        cells: Cells of one image; may be empty.
        path: The combined file, ending in .tif; class files are named by `class_label_paths`.
        image: Not used: the signature is that of every writer.
        palette: Not used.

    Returns:
        lost_pixels: how many pixels of the combined file a cell lost to a higher-scoring one.
    """
    path = Path(path)
    kind = np.uint16 if len(cells) < 2**16 else np.uint32
    numbers: NDArray[Any] = np.arange(1, len(cells) + 1, dtype=kind)
    painted = _write(cells, numbers, path)
    for label, class_path in enumerate(class_label_paths(path, cells.class_names)):
        own = np.flatnonzero(cells.labels == label)
        _write(cells[own], numbers[own], class_path)
    return {"lost_pixels": int(cells.measure()[1].sum()) - painted}


def class_label_paths(path: Path, class_names: Sequence[str]) -> list[Path]:
    """Name the label file of each class: `image.labels.tif` gives `image.labels.lymphocyte.tif`.

    What a file name may not hold becomes "_". Classes whose names are then the same, or differ in
    capitals only, get their number behind it: `image.labels.CD3__1.tif`, `image.labels.CD3__2.tif`.

    Args:
        path: The combined file.
        class_names: Names of all classes.

    Returns:
        One file per class, no two the same.
    """
    safe_names = [re.sub(r"[^\w-]+", "_", name) for name in class_names]
    counts = Counter(name.lower() for name in safe_names)
    taken = {name for name, count in counts.items() if count == 1}
    paths = []
    for number, name in enumerate(safe_names, 1):
        if counts[name.lower()] > 1:
            name = f"{name}_{number}"
            while name.lower() in taken:
                name += "_"
            taken.add(name.lower())
        paths.append(path.with_name(f"{path.stem}.{name}{path.suffix}"))
    return paths


def _write(cells: Cells, numbers: NDArray[Any], path: Path) -> int:
    """Write one label map and count its foreground pixels."""
    painted = 0

    def strips() -> Iterator[bytes]:  # tifffile takes strips one by one only when compressed
        nonlocal painted
        for strip in paint_strips(cells, numbers):
            painted += int(np.count_nonzero(strip))
            little_endian = strip.astype(strip.dtype.newbyteorder("<"), copy=False)
            yield zlib.compress(little_endian.data, level=1)

    options: dict[str, Any] = {}
    if cells.pixel_size_um:
        per_cm = 1e4 / cells.pixel_size_um
        options = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    write_atomically(
        path,
        lambda file: tifffile.imwrite(
            tifffile.FileHandle(file, name=path.name),  # an open descriptor has no name of its own
            strips(),
            shape=(cells.height, cells.width),
            dtype=numbers.dtype,
            rowsperstrip=min(_ROWS_PER_STRIP, cells.height),
            compression="zlib",
            byteorder="<",
            photometric="minisblack",
            metadata=None,
            bigtiff=cells.height * cells.width * numbers.dtype.itemsize > 2**33,
            **options,
        ),
    )
    return painted
