"""Per-cell measurements as a table: shape and stain, in pixels and micrometers.

The definitions are scikit-image's `regionprops` (axes and eccentricity from the second moments,
solidity from the convex hull of pixel outlines) and `rgb2hed` (Ruifrok and Johnston's color
deconvolution), computed for all cells at once; tests hold them against scikit-image itself.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.color import hed_from_rgb

from cellseg.errors import CellsegError
from cellseg.fileio import write_atomically
from cellseg.images import ImageSource
from cellseg.palette import Color
from cellseg.structures.cells import Cells

Table = dict[str, list[Any] | NDArray[Any]]

_SQUARE_PX = 1024  # side of the part of an image that is in memory at a time
_BLOCK_CELLS = 1000
_LEAST_LIGHT = 1e-6  # rgb2hed's floor for the logarithm


def measure_cells(cells: Cells, image: ImageSource | None = None) -> Table:
    """Measure every cell.

    Args:
        cells: N cells of one image; may be empty.
        image: The image that they were found in, for the stains; these columns are left out when
            None.

    Returns:
        Columns of length N, in the order of the cells: cell (1, 2, ... as in the label TIFF),
        class, score, area_px, centroid_x_px, centroid_y_px, major_axis_px, minor_axis_px,
        eccentricity, solidity; the same in um where the pixel size is known; and
        mean_haematoxylin, mean_eosin (optical density in rgb2hed's units). Pixels are those of the
        level that was predicted, as in the label TIFF; GeoJSON is in those of the full resolution,
        where the centroid x lies at (x + 0.5) * cells.downsample. Micrometers hold for both.
    """
    shape = _measure_shapes(cells)
    table: Table = {
        "cell": np.arange(1, len(cells) + 1),
        "class": cells.classes,
        "score": cells.confidences.astype(np.float64).round(6),
        **shape,
    }
    if cells.pixel_size_um is not None:
        size = cells.pixel_size_um
        for name in ("area", "centroid_x", "centroid_y", "major_axis", "minor_axis"):
            unit = "um2" if name == "area" else "um"
            table[f"{name}_{unit}"] = shape[f"{name}_px"] * (size**2 if name == "area" else size)
    if image is not None:
        stains = _measure_stains(cells, image)
        table["mean_haematoxylin"], table["mean_eosin"] = stains.T
    return table


def write_csv(
    cells: Cells, path: str | Path, image: ImageSource | None = None, palette: Sequence[Color] = ()
) -> dict[str, Any]:
    """Write what `measure_cells` measures as CSV; see `write_csv_table`.

    Args:
        cells: Cells of one image; may be empty.
        path: The file.
        image: The image that they were found in, for the stains; None leaves these columns out.
        palette: Not used: the signature is that of every writer.

    Returns:
        Nothing to note.
    """
    write_csv_table(measure_cells(cells, image), path)
    return {}


def write_csv_table(table: Table, path: str | Path) -> Path:
    """Write a table as CSV (comma, UTF-8, a header line); floats keep six significant digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    columns = [_as_texts(column) for column in table.values()]
    writer.writerows(zip(*columns, strict=True))
    return write_atomically(path, text.getvalue())


def write_parquet(
    cells: Cells, path: str | Path, image: ImageSource | None = None, palette: Sequence[Color] = ()
) -> dict[str, Any]:
    """Write what `measure_cells` measures as Parquet; as for `write_csv`.

    Raises:
        CellsegError: If the optional package pyarrow is not installed.
    """
    check_parquet()
    import pyarrow
    import pyarrow.parquet

    table = measure_cells(cells, image)
    columns = pyarrow.table({name: pyarrow.array(column) for name, column in table.items()})
    write_atomically(path, lambda file: pyarrow.parquet.write_table(columns, file))
    return {}


def check_parquet() -> None:
    """Raise CellsegError if the optional package pyarrow is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise CellsegError(
            "Parquet needs the extra parquet (pip install pyarrow); install it, or choose the "
            "format csv."
        ) from error


def _as_texts(column: list[Any] | NDArray[Any]) -> list[Any]:
    """Turn a column into what CSV shows."""
    if isinstance(column, np.ndarray) and column.dtype.kind == "f":
        return [f"{value:.6g}" for value in column.tolist()]
    return column.tolist() if isinstance(column, np.ndarray) else column


def _measure_shapes(cells: Cells) -> dict[str, NDArray[np.float64]]:
    """Measure areas, centroids, axes, eccentricity and solidity."""
    blocks = [
        _measure_shape_block(cells[begin : begin + _BLOCK_CELLS])
        for begin in range(0, max(len(cells), 1), _BLOCK_CELLS)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _measure_shape_block(cells: Cells) -> dict[str, NDArray[np.float64]]:
    """Measure some cells; see `_measure_shapes`."""
    pixels, boxes = cells.get_masks().draw_columns()
    count = len(cells)
    owners, columns, rows = _list_pixels(pixels, boxes)
    area = np.bincount(owners, minlength=count)

    def average(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.bincount(owners, weights=values, minlength=count) / area

    x_mean, y_mean = average(columns), average(rows)
    dx, dy = columns - x_mean[owners], rows - y_mean[owners]
    xx, yy, xy = average(dx * dx), average(dy * dy), average(dx * dy)
    spread = np.hypot(xx - yy, 2 * xy)
    larger, smaller = (xx + yy + spread) / 2, np.maximum((xx + yy - spread) / 2, 0)
    hulls = _count_hull_pixels(pixels, boxes)
    roundness = np.divide(smaller, larger, out=np.ones(count), where=larger > 0)  # a pixel is round
    return {
        "area_px": area,
        "centroid_x_px": x_mean + boxes[:, 0],
        "centroid_y_px": y_mean + boxes[:, 1],
        "major_axis_px": 4 * np.sqrt(larger),
        "minor_axis_px": 4 * np.sqrt(smaller),
        "eccentricity": np.sqrt(1 - roundness),
        "solidity": area / hulls,
    }


def _list_pixels(
    pixels: NDArray[np.bool_], boxes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """List the cells' pixels: owner, and column and row inside the owner's box, (P,) each."""
    heights = boxes[:, 3] - boxes[:, 1]
    areas = (boxes[:, 2] - boxes[:, 0]) * heights
    owners = np.repeat(np.arange(len(boxes)), areas)[pixels]
    places = np.flatnonzero(pixels) - (np.cumsum(areas) - areas)[owners]
    columns, rows = np.divmod(places, heights[owners])
    return owners, columns, rows


def _count_hull_pixels(pixels: NDArray[np.bool_], boxes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Count the pixels in each cell's convex hull, as `convex_hull_image` does with its offsets."""
    counts = np.zeros(len(boxes))
    begin = 0
    for index, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        width, height = x2 - x1, y2 - y1
        mask = pixels[begin : begin + width * height].reshape(width, height)
        begin += width * height
        counts[index] = _count_hull(mask)
    return counts


def _count_hull(mask: NDArray[np.bool_]) -> int:
    """Count the pixel centers in the hull of the pixels' side midpoints; mask is (w, h)."""
    width, height = mask.shape
    columns = np.flatnonzero(mask.any(axis=1))
    top = mask.argmax(axis=1)[columns]
    bottom = height - 1 - mask[:, ::-1].argmax(axis=1)[columns]
    ends = np.concatenate((np.stack((columns, top), axis=1), np.stack((columns, bottom), axis=1)))
    # Doubled coordinates keep the side midpoints whole numbers.
    midpoints = (2 * ends[:, None] + np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])).reshape(-1, 2)
    hull = cv2.convexHull(midpoints.astype(np.int32))[:, 0].astype(np.int64)  # (K, 2)
    edges = np.roll(hull, -1, axis=0) - hull
    x, y = 2 * np.arange(width), 2 * np.arange(height)
    # Which side of each edge a pixel center lies on is linear in x and in y.
    across_x = edges[:, 1, None] * (x - hull[:, 0, None])  # (K, w)
    across_y = edges[:, 0, None] * (y - hull[:, 1, None])  # (K, h)
    sides = across_y[:, None, :] - across_x[:, :, None]  # (K, w, h)
    inside = (sides >= 0).all(axis=0) | (sides <= 0).all(axis=0)
    return int(inside.sum())


def _measure_stains(cells: Cells, image: ImageSource) -> NDArray[np.float64]:
    """Average haematoxylin and eosin over each cell, (N, 2)."""
    sums = np.zeros((len(cells), 2))
    areas = np.zeros(len(cells))
    light = np.maximum(np.arange(256) / 255, _LEAST_LIGHT)
    density = (np.log(light) / np.log(_LEAST_LIGHT)).astype(np.float32)
    for indices, x0, y0, part in _squares(cells, image):
        pixels, boxes = cells[indices].get_masks().draw_columns()
        owners, columns, rows = _list_pixels(pixels, boxes)
        colors = part[rows + boxes[owners, 1] - y0, columns + boxes[owners, 0] - x0]
        stains = np.maximum(density[colors[:, ::-1]] @ hed_from_rgb[:, :2].astype(np.float32), 0)
        for stain in range(2):
            sums[indices, stain] = np.bincount(owners, stains[:, stain], len(indices))
        areas[indices] = np.bincount(owners, minlength=len(indices))
    return sums / areas[:, None]


def _squares(
    cells: Cells, image: ImageSource
) -> Iterator[tuple[NDArray[np.int64], int, int, NDArray[np.uint8]]]:
    """Yield groups of cells with the part of the image they lie in: indices, x0, y0, pixels."""
    boxes, _ = cells.measure()
    columns, rows = boxes[:, :2].T // _SQUARE_PX
    groups = rows * (cells.width // _SQUARE_PX + 1) + columns
    order = np.argsort(groups, kind="stable")
    for indices in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if len(indices):
            x1, y1 = boxes[indices, :2].min(axis=0).tolist()
            x2, y2 = boxes[indices, 2:].max(axis=0).tolist()
            yield indices, x1, y1, image.read(x1, y1, x2 - x1, y2 - y1)
