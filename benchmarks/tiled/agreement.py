"""How far a tiled prediction agrees with that of the whole image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellseg.images import ImageSource
from cellseg.inference import Cells, Predictor
from cellseg.inference.overlaps import measure_overlaps
from cellseg.inference.tiles import Tile

MATCH_IOU = 0.8
COVERED = 0.5  # of two cells, one lies in the other by more than this: one cell found twice
BORDER_PX = 3.0


@dataclass(frozen=True)
class Agreement:
    """Counts of the cells of the whole image and of the tiled prediction.

    Attributes:
        whole: Cells of the whole image.
        crossing: Those of them that the border of a tile crosses.
        tiled: Cells of the tiled prediction.
        matched: Cells of the whole image that the tiled prediction contains at MATCH_IOU.
        crossing_matched: Those of them that the border of a tile crosses.
        twice: Pairs of tiled cells that cover one another though different tiles found them and
            the whole image does not show both, and tiled cells that match a cell of the whole
            image which another one matches better.
        cut: Tiled cells that are parts of larger ones of the whole image and end at a tile's
            border.
        whole_covering: Pairs of cells of the whole image that cover one another.
        tiled_covering: Such pairs of tiled cells, whichever tiles found them.
    """

    whole: int
    crossing: int
    tiled: int
    matched: int
    crossing_matched: int
    twice: int
    cut: int
    whole_covering: int
    tiled_covering: int

    @property
    def share(self) -> float:
        """Share of the whole image's cells that are matched."""
        return self.matched / self.whole if self.whole else 1.0

    @property
    def holds(self) -> bool:
        """Whether the prediction passes: 98% matched, none twice, none cut."""
        return self.share >= 0.98 and self.twice == 0 and self.cut == 0


def predict_tiles(
    predictor: Predictor, source: ImageSource
) -> tuple[Cells, list[Tile], NDArray[np.int64]]:
    """Predict an image tile by tile and remember where each cell was found.

    Returns:
        The merged cells, the tiles, and (N,) the tile that found each cell; -1 for one that was
        joined from the parts of several.
    """
    plan = predictor.plan_tiles(source)
    tile_cells = predictor.predict_batches(source, plan)
    cells = predictor.merge(source, plan, tile_cells)
    finders: dict[tuple[str, float], int] = {}
    for tile, found in tile_cells.parts:
        for rle, score in zip(found.rles, found.scores.tolist(), strict=True):
            finders[rle["counts"], score] = tile
    keys = zip(cells.rles, cells.scores.tolist(), strict=True)
    origins = [finders.get((rle["counts"], score), -1) for rle, score in keys]
    return cells, list(plan.tiles), np.array(origins, dtype=np.int64)


def compare_predictions(
    whole: Cells,
    tiled: Cells,
    tiles: Sequence[Tile],
    origins: NDArray[np.int64] | None = None,
) -> Agreement:
    """Compare the cells of a tiled prediction with those of the whole image, whatever their class.

    A network may find two cells in one place by itself, such as a pair and one of the two; that is
    counted, but not as a fault of the tiles.

    Args:
        whole: Cells found in the whole image.
        tiled: Cells found tile by tile.
        tiles: The tiles.
        origins: (N,) the tile that found each tiled cell, where it is known.

    Returns:
        The counts.
    """
    count = len(whole)
    overlaps = measure_overlaps(Cells.concatenate([whole, tiled]))
    first, second = overlaps.pairs.T
    covering = overlaps.iomin > COVERED
    in_whole, in_tiled = covering & (second < count), covering & (first >= count)
    across = (first < count) & (second >= count)
    alike = across & (overlaps.iou >= MATCH_IOU)
    matches = np.bincount(first[alike], minlength=count)
    held = np.zeros(len(tiled), dtype=bool)
    held[second[alike] - count] = True
    pairs = overlaps.pairs[in_tiled] - count
    found_in = np.full(len(tiled), -1) if origins is None else origins
    repeats = (found_in[pairs[:, 0]] != found_in[pairs[:, 1]]) | (found_in[pairs] < 0).any(axis=1)
    partnered = np.zeros(len(tiled), dtype=bool)
    partnered[_pair_up(first[alike], second[alike] - count, overlaps.iou[alike])] = True
    repeats &= ~partnered[pairs].all(axis=1)
    spare = held & ~partnered
    spare[pairs[repeats]] = False  # counted as a pair
    crossing = cross_borders(whole, tiles)
    parts = _find_parts(whole, tiled, overlaps.pairs[across], overlaps.intersections[across])
    return Agreement(
        whole=count,
        crossing=int(crossing.sum()),
        tiled=len(tiled),
        matched=int((matches > 0).sum()),
        crossing_matched=int((matches[crossing] > 0).sum()),
        twice=int(repeats.sum() + spare.sum()),
        cut=int((parts & ~held & _end_at_borders(tiled, tiles)).sum()),
        whole_covering=int(in_whole.sum()),
        tiled_covering=int(in_tiled.sum()),
    )


def _pair_up(
    whole: NDArray[np.int64], tiled: NDArray[np.int64], iou: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Match one to one, best first; returns the tiled cells that have a partner."""
    taken: set[int] = set()
    partnered: dict[int, int] = {}
    for place in np.argsort(-iou, kind="stable").tolist():
        cell, other = int(whole[place]), int(tiled[place])
        if cell not in taken and other not in partnered:
            taken.add(cell)
            partnered[other] = cell
    return np.array(list(partnered), dtype=np.int64)


def cross_borders(cells: Cells, tiles: Sequence[Tile]) -> NDArray[np.bool_]:
    """Find which cells (N,) the inner border of a tile crosses."""
    boxes, _ = cells.measure()
    crossed = np.zeros(len(cells), dtype=bool)
    for axis, sides in enumerate(_inner_borders(cells, tiles)):
        for side in sides:
            crossed |= (boxes[:, axis] < side) & (boxes[:, axis + 2] > side)
    return crossed


def _inner_borders(cells: Cells, tiles: Sequence[Tile]) -> tuple[list[int], list[int]]:
    """List the columns and the rows where tiles begin or end inside the image."""
    columns = {side for tile in tiles for side in (tile.x1, tile.x2)} - {0, cells.width}
    rows = {side for tile in tiles for side in (tile.y1, tile.y2)} - {0, cells.height}
    return sorted(columns), sorted(rows)


def _end_at_borders(cells: Cells, tiles: Sequence[Tile]) -> NDArray[np.bool_]:
    """Find which cells (N,) begin or end at the inner border of a tile."""
    boxes, _ = cells.measure()
    ending = np.zeros(len(cells), dtype=bool)
    for axis, sides in enumerate(_inner_borders(cells, tiles)):
        for side in sides:
            ending |= (np.abs(boxes[:, [axis, axis + 2]] - side) <= BORDER_PX).any(axis=1)
    return ending


def _find_parts(
    whole: Cells, tiled: Cells, pairs: NDArray[np.int64], shared: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Find which tiled cells (N,) lie in a cell of the whole image that is clearly larger."""
    whole_areas, tiled_areas = whole.measure()[1], tiled.measure()[1]
    one, two = pairs[:, 0], pairs[:, 1] - len(whole)
    inside = (shared > 0.8 * tiled_areas[two]) & (tiled_areas[two] < MATCH_IOU * whole_areas[one])
    parts = np.zeros(len(tiled), dtype=bool)
    parts[two[inside]] = True
    return parts
