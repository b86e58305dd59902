"""Turn counts of matched cells into scores: F1, precision, recall, PQ = DQ x SQ, AJI and Dice.

`compute_scores` turns the counts that `count_scene` made of each image into scores per class and of
all cells whatever their class. They do not depend on the order of the images.

- PQ: Kirillov et al., "Panoptic segmentation", CVPR 2019; for nuclei Graham et al., "HoVer-Net",
  Medical Image Analysis 2019.
- Pooled, as CoNIC 2022's mPQ+: counts summed over all images first.
- Image mean, as MoNuSAC 2020: the mean over the images that hold or predict a cell of the class, so
  that a class absent from an image still costs its false positives.
- Tissue mean, as PanNuke (Gamper et al., arXiv:2003.10778): in each image the mean over the classes
  that it holds, then the mean over the images of a tissue, then over the tissues.
- AJI: Kumar et al., "A dataset and a technique for generalized nuclear segmentation", TMI 2017.
- Dice: of the foreground pixels, 2 |G & P| / (|G| + |P|).
- AP at an IoU threshold, where asked for: TP / (TP + FP + FN), as StarDist, Cellpose and the 2018
  Data Science Bowl have it. It needs no confidences, unlike COCO's AP (`average_precision.py`).

A class without a ground-truth cell in the whole set has no score: it is reported as such, and left
out of the means.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellseg.defaults import DEFAULT_SCORE_THR
from cellseg.scoring.counts import IOU_THRS, ImageCounts, count_scene
from cellseg.scoring.results import ImageResult
from cellseg.scoring.scene import build_result_scene

ALL_CLASSES = "all classes"
"""Name of the group of all cells, whatever their class."""
_ABSENT = "no cell in the ground truth, so left out of the mean"

_Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class, or of all cells together.

    Attributes:
        name: The class name.
        num_cells: Ground-truth cells in all images.
        num_predicted: Predictions that counted.
        values: Score name to value; empty when num_cells is 0, for nothing can be said then.
    """

    name: str
    num_cells: int
    num_predicted: int
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """The scores of a data set.

    Attributes:
        classes: One entry per class, in class order.
        any_class: All cells, whatever their class.
        means: Score name to its mean over the classes that have ground-truth cells; empty when
            there is none.
        num_images: Images scored.
    """

    classes: tuple[ClassScores, ...]
    any_class: ClassScores
    means: dict[str, float]
    num_images: int

    def to_dict(self) -> dict[str, float]:
        """Flatten to one level, as a metric reports it.

        Returns:
            `mPQ` and so on for the means over classes, `any_PQ` for all cells whatever their
            class, `epithelial_PQ` for a class. A class without ground-truth cells has no entry.
        """
        flat = {f"m{name}": value for name, value in self.means.items()}
        groups = [("any", self.any_class)] + [(group.name, group) for group in self.classes]
        for prefix, group in groups:
            flat.update({f"{prefix}_{name}": value for name, value in group.values.items()})
        return flat


def compute_scores(
    counts: Sequence[ImageCounts],
    class_names: Sequence[str],
    iou_thrs: Sequence[float] = IOU_THRS,
    tissues: Sequence[str] | None = None,
    with_ap: bool = False,
) -> Scores:
    """Turn the counts of all images into scores.

    Args:
        counts: One entry per image, in any order.
        class_names: Names of the classes.
        iou_thrs: The thresholds that the counts were made with.
        tissues: The tissue (or another group) of each image, for `PQ_tissue_mean`.
        with_ap: Whether to add AP at each threshold, as in `AP_50` and `AP_50_image_mean`.

    Returns:
        The scores. Those of a class without ground-truth cells are left out, and out of the means.

    Raises:
        ValueError: If the counts were made for another number of classes or thresholds, or there is
            not one tissue for each image.
    """
    if tissues is not None and len(tissues) != len(counts):
        raise ValueError(f"{len(counts)} images came with {len(tissues)} tissues; give one each.")
    shape = (len(class_names) + 1, len(iou_thrs))
    for image in counts:
        if image.true_positives.shape != shape:
            raise ValueError(
                f"The counts of an image have shape {image.true_positives.shape}, but there are "
                f"{len(class_names)} classes and {len(iou_thrs)} IoU thresholds."
            )
    groups = [
        _score_group(counts, index, name, iou_thrs, with_ap)
        for index, name in enumerate((*class_names, ALL_CLASSES))
    ]
    present = [group for group in groups[:-1] if group.num_cells]
    names = present[0].values if present else ()
    means = {name: fsum(g.values[name] for g in present) / len(present) for name in names}
    if tissues is not None and present:
        means["PQ_tissue_mean"] = _mean_of_tissues(counts, tissues, slice(0, -1))
        groups[-1].values["PQ_tissue_mean"] = _mean_of_tissues(counts, tissues, slice(-1, None))
    return Scores(tuple(groups[:-1]), groups[-1], means, len(counts))


def score_results(
    results: Sequence[ImageResult],
    class_names: Sequence[str],
    score_thr: float = DEFAULT_SCORE_THR,
    tissues: Sequence[str] | None = None,
) -> tuple[Scores, list[ImageCounts]]:
    """Match the cells of images with masks one to one, and score them.

    Args:
        results: One result per image, with ground truth.
        class_names: Names of the classes.
        score_thr: Predictions below this confidence are left out.
        tissues: As for `compute_scores`.

    Returns:
        The scores, and the counts of each image that they are made of.

    Raises:
        ValueError: If masks or the ground truth are missing, or do not fit; the text names the
            image.
    """
    scenes = (build_result_scene(result, len(class_names), score_thr) for result in results)
    counts = [count_scene(scene) for scene in scenes]
    return compute_scores(counts, class_names, tissues=tissues), counts


def score_image(
    counts: ImageCounts, class_names: Sequence[str], iou_thrs: Sequence[float] = IOU_THRS
) -> tuple[ClassScores, ...]:
    """Score one image alone, as the means over images take it.

    Args:
        counts: Those of the image.
        class_names: Names of the classes.
        iou_thrs: The thresholds that the counts were made with.

    Returns:
        The scores of each class and, last, of all cells. Those of a class are 0 where there are
        only predictions, and left out where there is neither a cell nor a prediction.
    """
    names = (*class_names, ALL_CLASSES)
    return tuple(
        _score_group([counts], index, name, iou_thrs, True, min_cells=0)
        for index, name in enumerate(names)
    )


def format_scores(scores: Scores) -> str:
    """Write scores as a text table, one line per class.

    Args:
        scores: The scores.

    Returns:
        Lines without a trailing newline. A class without ground-truth cells says so.
    """
    columns: tuple[str, ...] = (
        *("PQ", "DQ", "SQ", "F1_50", "F1_75", "precision_50", "recall_50", "AJI", "Dice"),
        "PQ_image_mean",
    )
    if "PQ_tissue_mean" in scores.means:
        columns = (*columns, "PQ_tissue_mean")
    rows = [(g.name, f"{g.num_cells}", f"{g.num_predicted}", g.values) for g in scores.classes]
    if len(rows) == 1:
        rows = [(*rows[0][:3], scores.means)]  # the only class's own, with PQ_tissue_mean
    else:
        total = scores.any_class
        rows.append(("mean of classes", "", "", scores.means))
        rows.append((total.name, f"{total.num_cells}", f"{total.num_predicted}", total.values))
    width = max(len("class"), *(len(row[0]) for row in rows))
    head = "  ".join(f"{column:>6}" for column in columns)
    lines = [f"{'class':{width}}  {'cells':>7}  {'predicted':>9}  {head}"]
    for name, cells, predicted, values in rows:
        text = _format_values(values, columns) if values else _ABSENT
        lines.append(f"{name:{width}}  {cells:>7}  {predicted:>9}  {text}")
    return "\n".join(line.rstrip() for line in lines)


def _format_values(values: dict[str, float], columns: Sequence[str]) -> str:
    shown = (f"{values[name]:.4f}" if name in values else "" for name in columns)
    return "  ".join(
        f"{text:>{max(6, len(name))}}" for name, text in zip(columns, shown, strict=True)
    )


def _score_group(
    counts: Sequence[ImageCounts],
    index: int,
    name: str,
    iou_thrs: Sequence[float],
    with_ap: bool,
    min_cells: int = 1,
) -> ClassScores:
    """Compute the scores of one class, or of all cells, where there are at least min_cells."""
    num_thrs = len(iou_thrs)
    tp, fp, fn = (
        np.array([getattr(image, field)[index] for image in counts]).reshape(-1, num_thrs)
        for field in ("true_positives", "false_positives", "false_negatives")
    )  # each (images, T)
    num_cells, num_predicted = int((tp + fn)[:, 0].sum()), int((tp + fp)[:, 0].sum())
    if num_cells < min_cells or not num_cells + num_predicted:
        return ClassScores(name, num_cells, num_predicted)
    values = _score_masks(counts, index, tp[:, 0], fp[:, 0], fn[:, 0])
    values |= _score_ratios(tp, fp, fn, iou_thrs)
    if with_ap:
        values |= _score_ap(tp, fp, fn, iou_thrs)
    return ClassScores(name, num_cells, num_predicted, values)


def _score_masks(
    counts: Sequence[ImageCounts], index: int, tp: _Counts, fp: _Counts, fn: _Counts
) -> dict[str, float]:
    """Compute PQ, AJI and Dice; tp, fp and fn are (images,) at the first IoU threshold."""
    iou_sums = np.array([image.iou_sums[index] for image in counts])
    shared, union, common, gt_px, pred_px = (
        np.array([getattr(image, field)[index] for image in counts])
        for field in ("aji_shared_px", "aji_union_px", "common_px", "gt_px", "pred_px")
    )
    dq = float(_divide(2 * tp.sum(), (2 * tp + fp + fn).sum()))
    sq = float(_divide(fsum(iou_sums), tp.sum()))
    image_f1 = _divide(2 * tp, 2 * tp + fp + fn)
    image_pq = image_f1 * _divide(iou_sums, tp)
    holds = tp + fp + fn > 0
    return {
        "PQ": dq * sq,
        "DQ": dq,
        "SQ": sq,
        "AJI": float(_divide(shared.sum(), union.sum())),
        "Dice": float(_divide(2 * common.sum(), (gt_px + pred_px).sum())),
        "PQ_image_mean": _mean_of(image_pq[holds]),
        "DQ_image_mean": _mean_of(image_f1[holds]),
        "AJI_image_mean": _mean_of(_divide(shared, union)[holds]),
        "Dice_image_mean": _mean_of(_divide(2 * common, gt_px + pred_px)[holds]),
    }


def _score_ratios(
    tp: _Counts, fp: _Counts, fn: _Counts, iou_thrs: Sequence[float]
) -> dict[str, float]:
    """Compute F1, precision and recall of all images at each threshold; counts (images, T)."""
    found, wrong, missed = tp.sum(axis=0), fp.sum(axis=0), fn.sum(axis=0)
    ratios = {
        "F1": _divide(2 * found, 2 * found + wrong + missed),
        "precision": _divide(found, found + wrong),
        "recall": _divide(found, found + missed),
    }
    return {
        f"{ratio}_{round(100 * iou_thr):02d}": float(per_thr[place])
        for place, iou_thr in enumerate(iou_thrs)
        for ratio, per_thr in ratios.items()
    }


def _score_ap(tp: _Counts, fp: _Counts, fn: _Counts, iou_thrs: Sequence[float]) -> dict[str, float]:
    """Compute AP, TP / (TP + FP + FN), of all images and as their mean; counts (images, T)."""
    cells = tp + fp + fn
    holds = cells[:, 0] > 0
    pooled, image_ap = _divide(tp.sum(axis=0), cells.sum(axis=0)), _divide(tp, cells)
    values = {}
    for place, iou_thr in enumerate(iou_thrs):
        key = f"AP_{round(100 * iou_thr):02d}"
        values[key] = float(pooled[place])
        values[f"{key}_image_mean"] = _mean_of(image_ap[holds, place])
    return values


def _mean_of_tissues(counts: Sequence[ImageCounts], tissues: Sequence[str], rows: slice) -> float:
    """Average PQ over classes, images and tissues as PanNuke does; rows are the classes."""
    per_tissue: dict[str, list[float]] = {}
    for image, tissue in zip(counts, tissues, strict=True):
        tp, fp, fn = (
            getattr(image, field)[rows, 0]
            for field in ("true_positives", "false_positives", "false_negatives")
        )
        pq = _divide(2 * image.iou_sums[rows], 2 * tp + fp + fn)
        if (tp + fn).any():
            per_tissue.setdefault(tissue, []).append(float(pq[tp + fn > 0].mean()))
    return fsum(fsum(own) / len(own) for own in per_tissue.values()) / len(per_tissue)


def _divide(numerator: ArrayLike, denominator: ArrayLike) -> NDArray[np.float64]:
    """Divide; 0 where there is nothing to divide by (no match, nothing predicted)."""
    above, below = np.asarray(numerator, float), np.asarray(denominator, float)
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below > 0)


def _mean_of(values: NDArray[np.float64]) -> float:
    """Average exactly, so that the order of the images does not show."""
    return fsum(values) / len(values)
