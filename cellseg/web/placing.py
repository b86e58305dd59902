"""Which found cells are kept, and where: the model never changes what a person has done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.inference.predictor import TileCells
from cellseg.inference.tile_plan import TilePlan
from cellseg.structures.cells import Cells
from cellseg.web.edit_log import Outline, PageCell
from cellseg.web.rings import decode_rings, encode_masks
from cellseg.web.tile_pyramid import PyramidRegion

_MOST_OVERLAP = 0.5  # with a corrected cell: more, and a found cell is that one


def contains(outline: Outline, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points (N, 2) lie inside an outline, (N,) bool."""
    x, y = points.T
    inside = np.zeros(len(points), dtype=bool)
    previous = outline[-1]
    for corner in outline:
        (x1, y1), (x2, y2) = previous, corner
        if y1 != y2:
            crosses = (y1 > y) != (y2 > y)
            inside ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
        previous = corner
    return inside


def is_open_ground(
    boxes: NDArray[Any],
    outline: Outline | None,
    finished: Sequence[tuple[float, ...]] | None,
    reviewed: Sequence[Outline],
) -> NDArray[np.bool_]:
    """Return which cells the model may change: in the region, the tiles done, not reviewed."""
    centers = (np.asarray(boxes, dtype=np.float64)[:, :2] + boxes[:, 2:]) / 2
    is_open = np.ones(len(centers), dtype=bool)
    if outline is not None:
        is_open &= contains(outline, centers)
    if finished is not None:
        x, y = centers.T
        done = np.zeros(len(centers), dtype=bool)
        for x1, y1, x2, y2 in finished:
            done |= (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
        is_open &= done
    for region in reviewed:
        is_open &= ~contains(region, centers)
    return is_open


def find_covered(cells: Cells, corrected: Sequence[PageCell]) -> NDArray[np.bool_]:
    """Return which cells share most of their pixels with one that a person has corrected."""
    covered = np.zeros(len(cells), dtype=bool)
    boxes, areas = cells.measure()
    for own in corrected:
        x1, y1, x2, y2 = own.box
        near = (boxes[:, 0] < x2) & (boxes[:, 2] > x1) & (boxes[:, 1] < y2) & (boxes[:, 3] > y1)
        near &= ~covered
        if not near.any():
            continue
        crop = decode_rings(own.rings)
        for index, other in zip(np.flatnonzero(near).tolist(), cells[near].crops(), strict=True):
            shared = (other.window(*own.box) & crop.mask).sum()
            smaller = min(int(areas[index]), own.area)
            covered[index] = shared > _MOST_OVERLAP * smaller
    return covered


def move_core(tile: Any, box: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    """Return the part of the image that a tile of a region answers for."""
    x, y = box[:2]
    return tile.core_x1 + x, tile.core_y1 + y, tile.core_x2 + x, tile.core_y2 + y


def list_found(
    found: TileCells, plan: TilePlan, source: PyramidRegion, outline: Outline | None
) -> list[dict[str, Any]]:
    """List the cells of tiles for the page: each is drawn by the tile that it lies in."""
    listed = []
    for index, cells in found.parts:
        tile, (x0, y0) = plan.tiles[index], source.box[:2]
        centers = (cells.boxes[:, :2] + cells.boxes[:, 2:]) / 2
        own = (centers >= (tile.core_x1, tile.core_y1)).all(axis=1)
        own &= (centers < (tile.core_x2, tile.core_y2)).all(axis=1)
        if outline is not None:
            own &= contains(outline, centers.astype(np.float64) + (x0, y0))
        kept = cells[own]
        for rings, label, score, area in zip(
            encode_masks(kept.get_masks()),
            kept.labels.tolist(),
            kept.confidences.tolist(),
            kept.areas.tolist(),
            strict=True,
        ):
            moved = [[ring[0] + x0, ring[1] + y0, *ring[2:]] for ring in rings]
            listed.append({"k": 0, "c": label, "s": round(score, 4), "a": area, "r": moved})
    return listed
