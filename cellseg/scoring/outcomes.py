"""Say what became of each cell: found, taken for another class, missed; and the false positives.

Cells are matched one to one whatever their class, so that every ground-truth cell and every
prediction is counted once. Each keeps its place, so that it can be shown; the confusion matrix is
the sum of the outcomes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellseg.scoring.scene import BoolArray, IntArray, Scene


@dataclass(frozen=True)
class CellOutcomes:
    """What became of the cells of one image.

    Attributes:
        gt_index: (N,) places of the cells that count in the ground truth.
        pred_index: (M,) places of the predictions that count: of enough score, not hidden by better
            ones, and matched or outside regions to ignore.
        gt_labels: (N,) classes of the cells.
        pred_labels: (M,) classes of the predictions.
        partners: (N,) the prediction that matched each cell, an index into those that count; -1
            where none did.
    """

    gt_index: IntArray
    pred_index: IntArray
    gt_labels: IntArray
    pred_labels: IntArray
    partners: IntArray

    @property
    def found(self) -> BoolArray:
        """(N,) whether a prediction matched the cell, of whatever class."""
        return self.partners >= 0

    @property
    def right(self) -> BoolArray:
        """(N,) whether that prediction had the cell's class."""
        right = self.found
        right[right] = self.pred_labels[self.partners[right]] == self.gt_labels[right]
        return right

    @property
    def false_positive(self) -> BoolArray:
        """(M,) whether the prediction matched no cell."""
        unmatched = np.ones(len(self.pred_index), dtype=bool)
        unmatched[self.partners[self.found]] = False
        return unmatched

    @property
    def wrong(self) -> BoolArray:
        """(M,) whether the prediction matched no cell, or one of another class."""
        wrong = np.ones(len(self.pred_index), dtype=bool)
        wrong[self.partners[self.right]] = False
        return wrong

    @property
    def f1(self) -> float:
        """F1 over all cells, a cell of another class counting as missed; nan in an empty image."""
        total = len(self.gt_index) + len(self.pred_index)
        return 2 * int(self.right.sum()) / total if total else float("nan")


@dataclass(frozen=True)
class SizeBand:
    """The cells of a range of sizes.

    Attributes:
        low_px: Smallest diameter.
        high_px: Largest diameter, exclusive except in the last band.
        num_cells: Cells in the band.
        num_found: Of these, those found.
    """

    low_px: float
    high_px: float
    num_cells: int
    num_found: int

    @property
    def recall(self) -> float:
        """Share found; nan in an empty band."""
        return self.num_found / self.num_cells if self.num_cells else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the share (Wilson, 1927); 0 to 1 in an empty band."""
        if not self.num_cells:
            return 0.0, 1.0
        n, share, z2 = self.num_cells, self.recall, 1.959964**2
        center = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
        return max(float(center - half), 0.0), min(float(center + half), 1.0)


def classify_cells(scene: Scene, iou_thr: float = 0.5) -> CellOutcomes:
    """Say what became of each cell of one image.

    Args:
        scene: From `build_scene`.
        iou_thr: Cells match when their mask IoU is greater. Where several compete, as many as
            possible match, then those of the largest IoU, then of the highest score.

    Returns:
        The outcomes; empty arrays where there are no cells.
    """
    matches = scene.match(iou_thr)
    matched = np.zeros(len(scene.pred_labels), dtype=bool)
    matched[matches.pred_index] = True
    counts = scene.visible & (matched | ~scene.ignored)
    places = np.cumsum(counts) - 1
    partners = np.full(len(scene.gt_labels), -1, dtype=np.int64)
    partners[matches.gt_index] = places[matches.pred_index]
    return CellOutcomes(
        scene.gt_index,
        scene.pred_index[counts],
        scene.gt_labels,
        scene.pred_labels[counts],
        partners,
    )


def measure_diameters(areas: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the diameters (N,) of disks of the given areas (N,), in pixels."""
    return np.sqrt(4 * np.asarray(areas, dtype=np.float64) / np.pi)


def choose_size_edges(diameters: NDArray[np.floating], num_bands: int = 8) -> list[float]:
    """Choose whole-pixel edges of bands that hold about as many cells each.

    Args:
        diameters: (N,) in pixels; N may be 0.
        num_bands: Bands at most.

    Returns:
        Ascending edges, one more than there are bands; empty without cells.
    """
    if not len(diameters):
        return []
    inner = np.quantile(diameters, np.linspace(0, 1, num_bands + 1)[1:-1])
    low, high = np.floor(diameters.min()), np.floor(diameters.max()) + 1
    edges = np.unique(np.concatenate(([low], np.clip(np.rint(inner), low, high), [high])))
    return [float(edge) for edge in edges]


def band_recall(
    diameters: NDArray[np.floating], found: NDArray[np.bool_], edges: Sequence[float]
) -> list[SizeBand]:
    """Count cells and found cells in bands of size.

    Args:
        diameters: (N,) in pixels.
        found: (N,) whether each was found.
        edges: Ascending, as `choose_size_edges` gives them.

    Returns:
        One band between every two edges.
    """
    places = np.searchsorted(np.asarray(edges[1:-1]), diameters, side="right")
    num_bands = max(len(edges) - 1, 0)
    cells = np.bincount(places, minlength=num_bands)
    hits = np.bincount(places[found], minlength=num_bands)
    return [SizeBand(edges[k], edges[k + 1], int(cells[k]), int(hits[k])) for k in range(num_bands)]
