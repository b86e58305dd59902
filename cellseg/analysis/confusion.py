"""Count which class each cell was assigned, with missed cells and false positives.

Cells are matched one to one by mask IoU whatever their class, so that every ground-truth cell and
every prediction is counted exactly once; predictions in regions to ignore are excluded.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellseg.defaults import DEFAULT_SCORE_THR
from cellseg.scoring.outcomes import CellOutcomes, classify_cells
from cellseg.scoring.results import ImageResult
from cellseg.scoring.scene import build_result_scene

IntArray = NDArray[np.int64]

FALSE_POSITIVE = "false positive"
"""Name of the row of predictions that match no cell."""


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix of C classes and background.

    Attributes:
        class_names: C names.
        counts: (C + 1, C + 1) cells; the row is the true class, the column the predicted one. The
            last row holds false positives, the last column missed cells, their corner is 0.
        iou_thr: Cells match when their mask IoU is greater.
        score_thr: Predictions below this confidence were left out.
    """

    class_names: tuple[str, ...]
    counts: IntArray
    iou_thr: float
    score_thr: float

    @property
    def shares(self) -> NDArray[np.float64]:
        """(C + 1, C + 1) counts divided by their row's sum; nan in a row without a cell."""
        totals = self.counts.sum(axis=1, keepdims=True)
        empty = np.full(self.counts.shape, np.nan)
        return np.divide(self.counts, totals, out=empty, where=totals > 0)

    def to_csv(self, normalize: bool = False) -> str:
        """Write the matrix as CSV with a header row and column.

        Args:
            normalize: Write shares of the row instead of counts; empty in a row without a cell.

        Returns:
            Text with one line per true class.
        """
        names = [*self.class_names, FALSE_POSITIVE]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["true \\ predicted", *names[:-1], "missed"])
        cells: list[list[str]] = [[str(count) for count in row] for row in self.counts.tolist()]
        if normalize:
            shares = self.shares.tolist()
            cells = [["" if share != share else f"{share:.6f}" for share in row] for row in shares]
        writer.writerows([name, *row] for name, row in zip(names, cells, strict=True))
        return text.getvalue()


def confuse_outcomes(
    outcomes: Iterable[CellOutcomes],
    class_names: Sequence[str],
    score_thr: float = DEFAULT_SCORE_THR,
    iou_thr: float = 0.5,
) -> Confusion:
    """Count which class each cell was assigned, over images.

    Args:
        outcomes: Those of each image.
        class_names: C names.
        score_thr: The threshold that the outcomes were made with, for the record.
        iou_thr: Likewise.

    Returns:
        The matrix; all zero without images.
    """
    num_classes = len(class_names)
    side = num_classes + 1
    counts = np.zeros(side * side, dtype=np.int64)
    for image in outcomes:
        # The partner -1 of a missed cell picks the last entry.
        predicted = np.append(image.pred_labels, num_classes)[image.partners]
        counts += np.bincount(image.gt_labels * side + predicted, minlength=side * side)
        unmatched = image.pred_labels[image.false_positive]
        counts += np.bincount(num_classes * side + unmatched, minlength=side * side)
    return Confusion(tuple(class_names), counts.reshape(side, side), iou_thr, score_thr)


def confuse_results(
    results: Iterable[ImageResult],
    class_names: Sequence[str],
    score_thr: float = DEFAULT_SCORE_THR,
    iou_thr: float = 0.5,
) -> Confusion:
    """Match the cells of images and count which class each was taken for.

    Args:
        results: One result per image, with ground truth and masks.
        class_names: C names.
        score_thr: Predictions below this confidence are left out.
        iou_thr: Cells match when their mask IoU is greater.

    Returns:
        The matrix; all zero without images.

    Raises:
        ValueError: If masks are missing or do not fit; the text names the image.
    """
    scenes = (build_result_scene(result, len(class_names), score_thr) for result in results)
    outcomes = (classify_cells(scene, iou_thr) for scene in scenes)
    return confuse_outcomes(outcomes, class_names, score_thr, iou_thr)
