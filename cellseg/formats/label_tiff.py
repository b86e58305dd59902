"""Label TIFFs, one number per cell: as this project writes them, and as it and others are read."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from mmengine.logging import print_log
from numpy.typing import NDArray

from cellseg.errors import CellDataError, CellsegError, as_cellseg_error
from cellseg.file_listing import list_files
from cellseg.fileio import write_atomically
from cellseg.formats.label_file_names import (
    class_label_paths,
    find_place,
    guess_pattern,
    match_name,
    refuse_strays,
)
from cellseg.formats.prediction_set import PredictionSet, TruthImage
from cellseg.images import ImageSource, read_label_map
from cellseg.palette import Color
from cellseg.structures.cells import Cells
from cellseg.structures.label_pieces import MERGED_LABELS_HINT, look_merged_in

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


def read_label_folder(
    root: Path,
    images: Sequence[TruthImage],
    class_names: Sequence[str],
    pattern: str | None = None,
) -> PredictionSet:
    """Read a folder of label TIFFs, as Cellpose, StarDist and others write them.

    Args:
        root: The folder.
        images: The images of the data set.
        class_names: The classes in order.
        pattern: How the files are called below the folder: `{image}` stands for the image's name
            and `{class}` for a class's number from 1 or its name, spelt as tools/predict.py does in
            file names or as it is. When None, the first of KNOWN_PATTERNS that an image's file
            follows, and no file may be called otherwise.

    Returns:
        The predictions, each of score 1.0.

    Raises:
        CellsegError: If no file follows the pattern, or one is of an unknown image or class, cannot
            be read, differs in size from its image, or is one of two for an image and class.
    """
    pattern, layers = _find_layers(root, images, class_names, pattern)
    by_id = {image.img_id: image for image in images}
    merged: list[Path] = []
    by_image = {key: _read_layers(by_id[key], files, merged) for key, files in layers.items()}
    if merged:
        print_log(
            f"{root}: in {len(merged)} of {sum(map(len, layers.values()))} label files, such as "
            f"{merged[0]}, labels are in several pieces: {MERGED_LABELS_HINT}.",
            "current",
            logging.WARNING,
        )
    absent = [image.name for image in images if image.img_id not in by_image]
    return PredictionSet(by_image, absent, False, "{class}" in pattern)


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


def _find_layers(
    root: Path, images: Sequence[TruthImage], class_names: Sequence[str], pattern: str | None
) -> tuple[str, dict[int, dict[int, Path]]]:
    """Find the label files of a folder: their pattern, and for each image class index to file."""
    paths = [path for path in list_files(root) if path.suffix.lower() in (".tif", ".tiff")]
    if not paths:
        raise CellsegError(f"{root}: holds no label TIFF (.tif); convert the predictions to TIFF.")
    names = {path: path.relative_to(root).with_suffix(".tif").as_posix() for path in paths}
    by_name = {image.name: image for image in images}
    if pattern is None:
        pattern = guess_pattern(root, names.values(), by_name)
        refuse_strays(pattern, names)
    pattern = pattern.replace(os.sep, "/")  # names have "/", on Windows too
    layers: dict[int, dict[int, Path]] = {}
    for path, name in names.items():
        if found := match_name(pattern, name):
            image, label = find_place(path, found, by_name, class_names)
            first = layers.setdefault(image.img_id, {}).setdefault(label, path)
            if first != path:
                raise CellsegError(
                    f"{path}: is of the same image and class as {first}; remove one of them."
                )
    if not layers:
        raise CellsegError(
            f"{root}: no file is called {pattern}, with an image's name as {{image}}."
        )
    return pattern, layers


def _read_layers(image: TruthImage, files: Mapping[int, Path], merged: list[Path]) -> Cells:
    """Read the label maps of one image, class index to file; add those that look merged."""
    names = image.cells.class_names
    parts = [Cells.empty(image.height, image.width, names)]
    for label, path in files.items():
        with as_cellseg_error(CellDataError):
            label_map = read_label_map(path)
        if label_map.shape != (image.height, image.width):
            raise CellsegError(
                f"{path}: is {label_map.shape[0]} x {label_map.shape[1]} pixels (height x width), "
                f"but image {image.name} is {image.height} x {image.width}."
            )
        if look_merged_in(label_map):
            merged.append(path)
        cells = Cells.from_label_map(label_map, label, names)
        parts.append(replace(cells, scores=np.ones(len(cells), dtype=np.float32)))
    return Cells.concatenate(parts)
