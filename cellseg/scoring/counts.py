"""Count what each image adds to F1, PQ, AJI and Dice.

`count_scene` runs on each image, anywhere and in any order; `compute_scores` in `scores.py` then
turns all counts into scores. The counts are small (a few hundred numbers per image) and pickle, so
that gathering them from several processes is cheap. A pair matches when its IoU is strictly greater
than the threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.scoring.matching import Matches, Overlaps, match_cells
from cellseg.scoring.scene import BoolArray, IntArray, Scene
from cellseg.structures.runs import Runs, overlap_runs, union_runs

IOU_THRS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True)
class ImageCounts:
    """What one image adds to the figures; G groups are the classes and, last, all cells.

    In the last group a cell may match a cell of another class.

    Attributes:
        true_positives: (G, T) matches at each of T IoU thresholds.
        false_positives: (G, T) predictions without a match, ignored ones left out.
        false_negatives: (G, T) ground-truth cells without a match.
        iou_sums: (G,) summed IoU of the matches at the first threshold.
        aji_shared_px: (G,) numerator of AJI.
        aji_union_px: (G,) denominator of AJI.
        common_px: (G,) foreground pixels of both.
        gt_px: (G,) foreground pixels of the ground truth.
        pred_px: (G,) foreground pixels of the predictions.
    """

    true_positives: IntArray
    false_positives: IntArray
    false_negatives: IntArray
    iou_sums: NDArray[np.float64]
    aji_shared_px: IntArray
    aji_union_px: IntArray
    common_px: IntArray
    gt_px: IntArray
    pred_px: IntArray


def count_scene(scene: Scene, iou_thrs: Sequence[float] = IOU_THRS) -> ImageCounts:
    """Count what one image adds to the figures.

    Args:
        scene: From `build_scene`.
        iou_thrs: IoU thresholds of F1, precision and recall, ascending; PQ is taken at the first.

    Returns:
        The counts of each class and of all cells.
    """
    rows = [_count_group(scene, group, iou_thrs) for group in (*range(scene.num_classes), None)]
    return ImageCounts(*(np.array(column) for column in zip(*rows, strict=True)))


def _count_group(scene: Scene, group: int | None, iou_thrs: Sequence[float]) -> tuple[Any, ...]:
    """Count one class, or all cells for None; the fields of ImageCounts, one group each."""
    overlaps = scene.overlaps
    gt_in = np.ones(len(scene.gt_labels), bool) if group is None else scene.gt_labels == group
    pred_in = scene.visible  # a prediction hidden by better ones is not there
    if group is not None:
        pred_in &= scene.pred_labels == group
    overlaps = overlaps.select(gt_in[overlaps.gt_index] & pred_in[overlaps.pred_index])
    steps = _match_at(overlaps, iou_thrs)
    found = np.array([len(matches) for matches in steps])
    counted = pred_in & ~scene.ignored
    spared = np.array([np.count_nonzero(~counted[matches.pred_index]) for matches in steps])
    false_positives = np.count_nonzero(counted) - (found - spared)
    missed = np.count_nonzero(gt_in) - found
    counted[steps[0].pred_index] = True  # a match counts, in an ignore region too
    aji = _count_aji(overlaps, gt_in, counted)
    foreground = _count_foreground(scene, gt_in, counted)
    return (found, false_positives, missed, fsum(steps[0].ious), *aji, *foreground)


def _match_at(overlaps: Overlaps, iou_thrs: Sequence[float]) -> list[Matches]:
    """Match at each of the ascending thresholds."""
    loosest = match_cells(overlaps, iou_thrs[0])
    if len(loosest) < np.count_nonzero(overlaps.ious > iou_thrs[0]):  # cells compete
        return [loosest, *(match_cells(overlaps, iou_thr) for iou_thr in iou_thrs[1:])]
    steps = [loosest.ious > iou_thr for iou_thr in iou_thrs]
    return [Matches(*(part[step] for part in vars(loosest).values())) for step in steps]


def _count_aji(overlaps: Overlaps, gt_in: BoolArray, counted: BoolArray) -> tuple[int, int]:
    """Count numerator and denominator of AJI over the predictions that count."""
    overlaps = overlaps.select(counted[overlaps.pred_index])
    order = np.lexsort((-overlaps.ious, overlaps.gt_index))
    best = order[np.diff(overlaps.gt_index[order], prepend=-1) > 0]
    alone_gt, alone_pred = gt_in.copy(), counted.copy()
    alone_gt[overlaps.gt_index[best]] = False
    alone_pred[overlaps.pred_index[best]] = False
    union = overlaps.union_px[best].sum()
    union += overlaps.gt_areas[alone_gt].sum() + overlaps.pred_areas[alone_pred].sum()
    return int(overlaps.shared_px[best].sum()), int(union)


def _count_foreground(scene: Scene, gt_in: BoolArray, counted: BoolArray) -> tuple[int, int, int]:
    """Count the foreground pixels of both, of the ground truth, and of the predictions."""
    gt = union_runs(Runs(*(part[gt_in[scene.gt.owners]] for part in scene.gt)))
    pred = union_runs(Runs(*(part[counted[scene.pred.owners]] for part in scene.pred)))
    common = overlap_runs(gt, pred)[2].sum()
    return int(common), int((gt.ends - gt.starts).sum()), int((pred.ends - pred.starts).sum())
