"""Write the scores of every image as a table, with the pooled and the averaged ones below."""

import csv
import io
from collections.abc import Sequence
from math import fsum

from cellseg.scoring.counts import IOU_THRS, ImageCounts
from cellseg.scoring.scores import ClassScores, compute_scores, score_image

COLUMNS = (
    *("PQ", "DQ", "SQ", "AJI", "Dice", "AP_50", "AP_75"),
    *("F1_50", "F1_75", "precision_50", "precision_75", "recall_50", "recall_75"),
)
"""Scores in the table; see `scores.py`. AP is TP / (TP + FP + FN)."""
POOLED = "(pooled)"
"""Name of the rows of counts that are summed over all images first."""
AVERAGED = "(mean of images)"
"""Name of the rows of means over the images that hold or predict a cell of the class."""


def write_image_table(
    counts: Sequence[ImageCounts],
    image_names: Sequence[str],
    class_names: Sequence[str],
    iou_thrs: Sequence[float] = IOU_THRS,
) -> str:
    """Write the scores of every image as CSV.

    Args:
        counts: One entry per image, from `count_scene`.
        image_names: A name for each image.
        class_names: Names of the classes.
        iou_thrs: The thresholds that the counts were made with; 0.5 and 0.75 among them.

    Returns:
        Text with a header; for each image one row per class, and one of all cells whatever their
        class where there are several; then the same rows POOLED and AVERAGED. Scores are empty
        where an image neither holds nor predicts a cell of the class, and in the last rows where
        no image holds one.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "class", "cells", "predicted", *COLUMNS])
    images = [_choose(score_image(one, class_names, iou_thrs)) for one in counts]
    for name, groups in zip(image_names, images, strict=True):
        writer.writerows(_make_row(name, group) for group in groups)
    scores = compute_scores(counts, class_names, iou_thrs, with_ap=True)
    pooled = _choose((*scores.classes, scores.any_class))
    writer.writerows(_make_row(POOLED, group) for group in pooled)
    for place, group in enumerate(pooled):
        own = [groups[place].values for groups in images if groups[place].values]
        means = {name: fsum(v[name] for v in own) / len(own) for name in COLUMNS if group.values}
        averaged = ClassScores(group.name, group.num_cells, group.num_predicted, means)
        writer.writerow(_make_row(AVERAGED, averaged))
    return text.getvalue()


def _choose(groups: Sequence[ClassScores]) -> Sequence[ClassScores]:
    """Leave out the group of all cells, the last, where there is only one class."""
    return groups[:-1] if len(groups) == 2 else groups


def _make_row(image: str, group: ClassScores) -> list[str]:
    """Write one row of the table."""
    shown = [f"{group.values[name]:.6f}" if group.values else "" for name in COLUMNS]
    return [image, group.name, str(group.num_cells), str(group.num_predicted), *shown]
