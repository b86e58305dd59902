"""Estimate how large the cells of an image are, from a few coarse looks with the network itself.

A part of the image is shown at several scales. Where cells look as they did in training, many of
them are found, and they cover much of the part; elsewhere a few parts of cells are found, or
specks. The median diameter at the best scale says how large the cells are, and is measured again at
the scale that follows from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cellseg.images import ImageSource
from cellseg.structures.cells import Cells

FindCells = Callable[[NDArray[np.uint8], float], Cells]
"""Finds the cells of (H, W, 3) uint8 B, G, R, resized by a factor, in the pixels of the image."""

_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the scale of training
_SIDE_PX = 384  # of the network's input
_MOST_ROUNDS = 2
_FEWEST_CELLS = 3
_LEAST_GAIN = 1.1  # what another scale must be better by than that of training
_LEAST_KEPT = 0.7  # how much worse a scale may be that follows from the cells
_SAME_SCALE = 1.1
_GRID = 4
_THUMBNAIL_PX = 64


class SizeEstimate(NamedTuple):
    """The estimated cell size.

    Attributes:
        diameter_px: Median diameter in pixels of the image.
        num_cells: How many cells it was measured on.
    """

    diameter_px: float
    num_cells: int


def estimate_cell_size(
    source: ImageSource, find: FindCells, trained_scale: float, trained_diameter_px: float
) -> SizeEstimate | None:
    """Estimate the median diameter of an image's cells.

    Args:
        source: The image.
        find: Finds cells, also those of low scores.
        trained_scale: Network pixels per image pixel that training used.
        trained_diameter_px: Median diameter of the training cells in network pixels.

    Returns:
        The estimate; None where too few cells are found at any scale.
    """
    center = find_busiest_place(source)
    looks = {factor: _look(source, center, trained_scale * factor, find) for factor in _FACTORS}
    best = max(looks.values(), key=lambda look: look.worth)
    if best.worth <= 0:
        return None
    if best.worth < looks[1.0].worth * _LEAST_GAIN:
        best = looks[1.0]
    for _ in range(_MOST_ROUNDS):
        scale = trained_diameter_px / best.diameter_px
        if 1 / _SAME_SCALE < scale / best.scale < _SAME_SCALE:
            break
        look = _look(source, center, scale, find)
        if look.worth < best.worth * _LEAST_KEPT:
            break
        best = look
    return SizeEstimate(best.diameter_px, best.num_cells)


def measure_median_diameter(cells: Cells) -> float:
    """Measure the median diameter of cells, those of circles of their areas, each by its score."""
    diameters = np.sqrt(cells.areas * 4 / np.pi)
    order = np.argsort(diameters)
    weights = np.cumsum(cells.confidences[order])
    return float(diameters[order][np.searchsorted(weights, weights[-1] / 2)])


def drop_cut_cells(cells: Cells) -> Cells:
    """Leave out cells that touch the border, which may be parts of larger ones."""
    x1, y1, x2, y2 = cells.boxes.T
    inside = (x1 >= 1) & (y1 >= 1) & (x2 <= cells.width - 1) & (y2 <= cells.height - 1)
    return cells[inside]


class Part(NamedTuple):
    """A part of an image and the factor that it is to be resized by."""

    image: NDArray[np.uint8]
    scale: float


def read_part(source: ImageSource, center: tuple[float, float], side_px: int, scale: float) -> Part:
    """Read the part around a place that fills a square of the network's input at a scale.

    Args:
        source: The image.
        center: x and y as shares of width and height.
        side_px: Side of the network's input, in pixels.
        scale: Network pixels per image pixel.

    Returns:
        The part, smaller where the image is.
    """
    side = max(round(side_px / scale), 8)
    width, height = min(side, source.width), min(side, source.height)
    x = round(min(max(center[0] * source.width - width / 2, 0), source.width - width))
    y = round(min(max(center[1] * source.height - height / 2, 0), source.height - height))
    return Part(source.read(x, y, width, height), scale)


def find_busiest_place(source: ImageSource) -> tuple[float, float]:
    """Find where an image varies most, on a coarse grid.

    Returns:
        x and y as shares of width and height.
    """
    width, height = max(source.width // _GRID, 1), max(source.height // _GRID, 1)
    width, height = min(width, 512), min(height, 512)
    best, place = -1.0, (0.5, 0.5)
    for row in range(_GRID):
        for column in range(_GRID):
            share = (column + 0.5) / _GRID, (row + 0.5) / _GRID
            x = min(max(int(share[0] * source.width - width / 2), 0), source.width - width)
            y = min(max(int(share[1] * source.height - height / 2), 0), source.height - height)
            tile = cv2.resize(
                source.read(x, y, width, height), (_THUMBNAIL_PX,) * 2, interpolation=cv2.INTER_AREA
            )
            spread = float(tile.astype(np.float32).std(axis=(0, 1)).mean())
            if spread > best:
                best, place = spread, share
    return place


class _Look(NamedTuple):
    """What was found at one scale.

    Attributes:
        scale: Network pixels per image pixel.
        worth: Share of the part covered by cells, times the root of their number, each cell counted
            by its score; 0 with too few cells.
        diameter_px: Median diameter in pixels of the image; 0 with too few cells.
        num_cells: How many cells.
    """

    scale: float
    worth: float
    diameter_px: float
    num_cells: int


def _look(source: ImageSource, center: tuple[float, float], scale: float, find: FindCells) -> _Look:
    """Find the cells around a place at one scale."""
    part = read_part(source, center, _SIDE_PX, scale)
    cells = find(part.image, scale)
    if len(cells) < _FEWEST_CELLS:
        return _Look(scale, 0.0, 0.0, len(cells))
    cover = float((cells.areas * cells.confidences).sum()) / part.image[..., 0].size
    worth = cover * math.sqrt(float(cells.confidences.sum()))
    inside = drop_cut_cells(cells)
    measured = inside if len(inside) >= _FEWEST_CELLS else cells
    return _Look(scale, worth, measure_median_diameter(measured), len(measured))
