"""Say what became of each cell: found, taken for another class, missed; and which were invented.

Cells are matched as for the confusion matrix, one to one whatever their class, so that the sums
over outcomes are that matrix's. Here each cell keeps its place, so that it can be shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellseg.evaluation.coco_results import ImageResult
from cellseg.evaluation.image_counts import DEFAULT_SCORE_THR, lay_out, split_result
from cellseg.evaluation.matching import match_cells

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class ImageOutcome:
    """What became of the cells of one image.

    Attributes:
        gt_index: (N,) places of the cells that count in the result's ground truth.
        found: (N,) whether a prediction matched the cell, of whatever class.
        right: (N,) whether that prediction had the cell's class.
        pred_index: (M,) places of the predictions that count in the result's predictions: of
            enough score, not hidden by better ones, and matched or outside ignored regions.
        invented: (M,) whether the prediction matched no cell.
        wrong: (M,) whether it matched none, or one of another class.
    """

    gt_index: IntArray
    found: BoolArray
    right: BoolArray
    pred_index: IntArray
    invented: BoolArray
    wrong: BoolArray

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
        centre = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
        return max(float(centre - half), 0.0), min(float(centre + half), 1.0)


def sort_outcomes(
    result: ImageResult,
    num_classes: int,
    score_thr: float = DEFAULT_SCORE_THR,
    iou_thr: float = 0.5,
) -> ImageOutcome:
    """Say what became of each cell of one image.

    Args:
        result: The image's predictions and ground truth, both with masks.
        num_classes: How many classes there are.
        score_thr: Predictions below this confidence are left out.
        iou_thr: Cells match when their mask IoU is greater.

    Returns:
        The outcomes; empty arrays where there are no cells.

    Raises:
        ValueError: If masks or the ground truth are missing or do not fit; the text names the
            image.
    """
    truth, found, regions = split_result(result)
    try:
        scene = lay_out(truth, found, num_classes, regions, score_thr)
    except ValueError as error:
        raise ValueError(f"Image {result.img_id}: {error}") from error
    matches = match_cells(scene.overlaps, iou_thr, scene.pred_scores)
    agree = scene.gt_labels[matches.gt_index] == scene.pred_labels[matches.pred_index]
    cells = np.zeros((2, len(scene.gt_labels)), dtype=bool)
    cells[0, matches.gt_index] = True
    cells[1, matches.gt_index[agree]] = True
    predictions = np.ones((2, len(scene.pred_labels)), dtype=bool)
    predictions[0, matches.pred_index] = False
    predictions[1, matches.pred_index[agree]] = False
    counts = (scene.overlaps.pred_areas > 0) & ~(scene.ignored & predictions[0])
    ignored = np.zeros(0, bool) if result.ground_truth is None else result.ground_truth.ignored
    kept = np.flatnonzero(result.predictions.scores >= score_thr)
    return ImageOutcome(
        np.flatnonzero(~ignored),
        cells[0],
        cells[1],
        kept[counts],
        predictions[0][counts],
        predictions[1][counts],
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
