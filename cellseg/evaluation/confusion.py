"""Count which class each cell was taken for, with cells missed and cells invented.

Cells are matched one to one by mask IoU whatever their class, so that every ground-truth cell and
every prediction is counted exactly once; predictions in ignore regions count for nobody.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellseg.evaluation.coco_results import ImageResult
from cellseg.evaluation.image_counts import (
    DEFAULT_SCORE_THR,
    CellSet,
    lay_out,
    split_result,
)
from cellseg.evaluation.matching import match_cells
from cellseg.structures.rle import RLE

IntArray = NDArray[np.int64]

BACKGROUND = "background"


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix of C classes and background.

    Attributes:
        class_names: C names.
        counts: (C + 1, C + 1) cells; the row is the true class, the column the predicted one. The
            last row holds invented cells, the last column missed ones, their corner is 0.
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

    def to_csv(self, normalise: bool = False) -> str:
        """Write the matrix as CSV with a header row and column.

        Args:
            normalise: Write shares of the row instead of counts; empty in a row without a cell.

        Returns:
            Text with one line a true class.
        """
        names = [*self.class_names, BACKGROUND]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["true \\ predicted", *names[:-1], "missed"])
        cells: list[list[str]] = [[str(count) for count in row] for row in self.counts.tolist()]
        if normalise:
            shares = self.shares.tolist()
            cells = [["" if share != share else f"{share:.6f}" for share in row] for row in shares]
        names[-1] = "invented"
        writer.writerows([name, *row] for name, row in zip(names, cells, strict=True))
        return text.getvalue()


def confuse_image(
    truth: CellSet,
    predictions: CellSet,
    num_classes: int,
    ignore_regions: Sequence[RLE] = (),
    score_thr: float = DEFAULT_SCORE_THR,
    iou_thr: float = 0.5,
) -> IntArray:
    """Count which class each cell of one image was taken for.

    Args:
        truth: The ground-truth cells; there may be none.
        predictions: The predicted cells; there may be none.
        num_classes: C, how many classes there are.
        ignore_regions: Masks whose pixels are nobody's business.
        score_thr: Predictions below this confidence are left out.
        iou_thr: Cells match when their mask IoU is greater. Where several compete, as many as
            possible match, then those of the largest IoU, then of the highest score.

    Returns:
        (C + 1, C + 1) counts as in `Confusion`.

    Raises:
        ValueError: If a mask differs in size from the others, or a label is no class.
    """
    scene = lay_out(truth, predictions, num_classes, ignore_regions, score_thr)
    matches = match_cells(scene.overlaps, iou_thr, scene.pred_scores)
    missed = np.ones(len(scene.gt_labels), dtype=bool)
    missed[matches.gt_index] = False
    invented = (scene.overlaps.pred_areas > 0) & ~scene.ignored
    invented[matches.pred_index] = False
    rows = (scene.gt_labels[matches.gt_index], scene.gt_labels[missed])
    columns = (scene.pred_labels[matches.pred_index], scene.pred_labels[invented])
    counts = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)
    np.add.at(counts, (rows[0], columns[0]), 1)
    np.add.at(counts[:, num_classes], rows[1], 1)
    np.add.at(counts[num_classes], columns[1], 1)
    return counts


def confuse_results(
    results: Sequence[ImageResult],
    class_names: Sequence[str],
    score_thr: float = DEFAULT_SCORE_THR,
    iou_thr: float = 0.5,
) -> Confusion:
    """Sum the confusion over images.

    Args:
        results: One result an image, with ground truth and masks.
        class_names: C names.
        score_thr: Predictions below this confidence are left out.
        iou_thr: Cells match when their mask IoU is greater.

    Returns:
        The matrix; all zero without images.

    Raises:
        ValueError: If masks are missing or do not fit; the text names the image.
    """
    counts = np.zeros((len(class_names) + 1, len(class_names) + 1), dtype=np.int64)
    for result in results:
        truth, found, regions = split_result(result)
        try:
            counts += confuse_image(truth, found, len(class_names), regions, score_thr, iou_thr)
        except ValueError as error:
            raise ValueError(f"Image {result.img_id}: {error}") from error
    return Confusion(tuple(class_names), counts, iou_thr, score_thr)
