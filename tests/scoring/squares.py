"""Results of squares."""

from collections.abc import Sequence

import numpy as np

from cellseg.scoring.results import ImageResult
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_crop


def make_result(
    truth: Sequence[tuple], found: Sequence[tuple], side: int, img_id: int = 1
) -> ImageResult:
    """Make a result of squares: x, y, size and label, -1 to ignore; of those found also a score."""
    gt_rles, rles = (
        [encode_crop(np.ones((c[2], c[2]), bool), c[0], c[1], side, side) for c in cells]
        for cells in (truth, found)
    )
    labels = [cell[3] for cell in truth]
    pred_labels, scores = [cell[3] for cell in found], [float(cell[4]) for cell in found]
    predictions = Cells.from_rles(rles, side, side, pred_labels, scores)
    ignored = [label < 0 for label in labels]
    ground_truth = Cells.from_rles(gt_rles, side, side, labels, ignored=ignored)
    return ImageResult(img_id, side, side, predictions, ground_truth)
