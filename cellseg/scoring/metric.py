"""The metric of this project: COCO AP of cells, at 1000 detections in every figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from terminaltables import AsciiTable

from cellseg.defaults import DEFAULT_SCORE_THR
from cellseg.scoring.average_precision import (
    DEFAULT_MAX_DETS,
    AveragePrecision,
    IouType,
    compute_average_precision,
)
from cellseg.scoring.results import (
    ImageResult,
    order_results,
    write_result_files,
)
from cellseg.scoring.scores import format_scores, score_results
from cellseg.structures.cells import Cells

_LEAST_LIMIT = 100  # of predictions per image, below which equal numbers may be a coincidence


@METRICS.register_module()
class CellMetric(BaseMetric):
    """Score boxes and masks of many cells by COCO's AP.

    Differences to MMDetection's CocoMetric: max_dets holds in every figure (there, mAP is taken at
    100 detections whatever is asked for), ground truth comes from the data sample's `instances`
    with areas counted in the masks, figures are not rounded, nothing goes through a temporary
    file, and masks may be RLE lists.

    Keys are `coco/segm_mAP`, `_mAP_50`, `_mAP_75`, `_mAP_s`, `_mAP_m`, `_mAP_l`, `_AR`, `_AR_s`,
    `_AR_m`, `_AR_l`, and `coco/segm_<class>_AP` and `_AP_50` for each class; the same for bbox. A
    class without a cell in the ground truth is nan and takes no part in the means; a mean over
    nothing is -1, as in COCO, and so never beats a real score of the best checkpoint.

    With masks, the cells are matched one to one as well: `coco/cell_mPQ`, `cell_any_F1_50`,
    `cell_<class>_AJI` and the other figures of `scores.Scores`; a class without a cell has no
    such key.

    Ignored instances (`ignore_flag=1`) are crowd regions: predictions inside count neither way. One
    with `bbox_label=-1` is a crowd region of every class.

    Args:
        metric: 'bbox', 'segm' or both.
        max_dets: The best-scored predictions that count, for each image and class.
        judge_cells: Whether to match cells one to one, for F1, PQ, AJI and Dice.
        score_thr: Predictions below this confidence are left out of that matching.
        format_only: Write the predictions to files and compute nothing, for images without labels.
        outfile_prefix: Also write `{prefix}.bbox.json` and `{prefix}.segm.json`, COCO result files
            with `category_id` counted from 1.
        collect_device: 'cpu' or 'gpu', where results of several processes are gathered.
        prefix: First part of the keys.
        collect_dir: Shared folder for gathering on the CPU.

    Raises:
        ValueError: If metric is unknown, or format_only comes without outfile_prefix.
    """

    default_prefix: str | None = "coco"

    def __init__(
        self,
        metric: str | Sequence[str] = ("bbox", "segm"),
        max_dets: int = DEFAULT_MAX_DETS,
        judge_cells: bool = True,
        score_thr: float = DEFAULT_SCORE_THR,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        names = [metric] if isinstance(metric, str) else list(metric)
        unknown = set(names) - set(get_args(IouType))
        if unknown or not names:
            raise ValueError(f"metric must be 'bbox', 'segm' or both, not {metric!r}.")
        if max_dets < 1:
            raise ValueError(f"max_dets must be at least 1, not {max_dets}.")
        if format_only and outfile_prefix is None:
            raise ValueError("format_only needs outfile_prefix, the start of the files' names.")
        self.metrics = cast("list[IouType]", names)
        self.max_dets = max_dets
        self.judge_cells = judge_cells
        self.score_thr = score_thr
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what scoring needs of one batch.

        Args:
            data_batch: Unused.
            data_samples: Samples as dicts with img_id, ori_shape, pred_instances, and instances
                (unless format_only).

        Raises:
            ValueError: If the ground truth is missing.
        """
        for sample in data_samples:
            height, width = (int(side) for side in sample["ori_shape"][:2])
            if "instances" not in sample and not self.format_only:
                raise ValueError(
                    "CellMetric reads the ground truth from 'instances', which the data samples do "
                    "not have. Add 'instances' to PackDetInputs' meta_keys in the test pipeline, "
                    "or set format_only=True to only write predictions."
                )
            found = Cells.from_prediction(sample["pred_instances"], height, width)
            truth = None
            if "instances" in sample:
                truth = Cells.from_instances(sample["instances"], height, width)
            self.results.append(ImageResult(int(sample["img_id"]), height, width, found, truth))

    def compute_metrics(self, results: list[ImageResult]) -> dict[str, float]:
        """Compute all figures from the gathered results, in any order, and log a table of them.

        Args:
            results: One result per image; repeated images count once.

        Returns:
            The figures by key, without the prefix; empty with format_only.
        """
        logger = MMLogger.get_current_instance()
        results = order_results(results)
        if self.outfile_prefix is not None:
            folder = Path(self.outfile_prefix).resolve().parent
            names = sorted(
                p.name for p in write_result_files(results, self.outfile_prefix).values()
            )
            logger.info(f"Wrote {' and '.join(names)} to {folder}")
        if self.format_only:
            return {}
        if not any(len(r.ground_truth.labels) for r in results if r.ground_truth is not None):
            logger.warning(
                f"None of the {len(results)} images has a ground-truth cell: all scores are absent."
            )
        for warning in describe_limits([r.predictions for r in results], self.max_dets):
            logger.warning(warning)
        figures: dict[str, float] = {}
        class_names = self._class_names()
        for iou_type in self.metrics:
            scores = compute_average_precision(results, class_names, iou_type, self.max_dets)
            logger.info(f"\n{format_table(scores)}")
            figures.update(_as_keys(scores))
        if self.judge_cells and all(map(_has_masks, results)):
            matched, _ = score_results(results, class_names, self.score_thr)
            logger.info(f"\n{format_scores(matched)}")
            figures.update({f"cell_{key}": value for key, value in matched.to_dict().items()})
        return figures

    def _class_names(self) -> list[str]:
        """Return the data set's class names."""
        names = (self.dataset_meta or {}).get("classes")
        if not names:
            raise ValueError("The data set gives no class names (metainfo 'classes').")
        return list(names)


def describe_limits(predictions: Sequence[Cells], max_dets: int) -> list[str]:
    """Describe the limits that predictions ran into, which lower scores without a word.

    Args:
        predictions: Of each image.
        max_dets: Predictions that count for each image and class.

    Returns:
        A sentence for each limit that was reached; none as a rule.
    """
    sentences = []
    most_of_a_class = [int(np.bincount(cells.labels).max(initial=0)) for cells in predictions]
    num_cut = sum(most > max_dets for most in most_of_a_class)
    if num_cut:
        sentences.append(
            f"{num_cut} of {len(predictions)} images have more than max_dets={max_dets} "
            "predictions of one class, of which those with the lowest scores do not count; raise "
            "max_dets in val_evaluator and test_evaluator."
        )
    totals = [len(cells) for cells in predictions]
    most = max(totals, default=0)
    if totals.count(most) > 1 and most >= _LEAST_LIMIT:  # no coincidence
        sentences.append(
            f"{totals.count(most)} of {len(predictions)} images have exactly {most} predictions, "
            "the most of any image: that is probably the limit model.test_cfg.rcnn.max_per_img, "
            "beyond which cells are missing; raise it if images hold as many cells."
        )
    return sentences


def _has_masks(result: ImageResult) -> bool:
    """Return whether a result has masks on both sides."""
    sides = (result.predictions, result.ground_truth)
    return all(side is not None and side.masks is not None for side in sides)


def format_table(scores: AveragePrecision) -> str:
    """Write figures as a text table: all classes first, then each with its counts.

    Absent figures are shown as '-'.
    """
    means, classes = scores.means, scores.classes
    rows: list[list[str]] = [["class", "cells", "predicted", "AP", "AP50", "AP75", "AR"]]
    totals = sum(c.num_cells for c in classes), sum(c.num_predictions for c in classes)
    keys = ("mAP", "mAP_50", "mAP_75", "AR")
    rows.append(["all", *map(str, totals), *(_format_score(means[key]) for key in keys)])
    for c in classes:
        figures = (c.ap, c.ap_50, c.ap_75, c.recall)
        counts = str(c.num_cells), str(c.num_predictions)
        rows.append([c.name, *counts, *(_format_score(figure) for figure in figures)])
    table = AsciiTable(rows, title=f" {scores.iou_type}, {scores.max_dets} detections ")
    table.justify_columns = dict.fromkeys(range(1, len(rows[0])), "right")
    return str(table.table)


def _format_score(score: float) -> str:
    """Write a score with four digits, or '-' where it is absent (nan, or -1 in a mean)."""
    return f"{score:.4f}" if score >= 0 else "-"


def _as_keys(scores: AveragePrecision) -> dict[str, float]:
    """Name the figures as CellMetric does."""
    kind = scores.iou_type
    figures = {f"{kind}_{name}": value for name, value in scores.means.items()}
    for c in scores.classes:
        figures[f"{kind}_{c.name}_AP"] = c.ap
        figures[f"{kind}_{c.name}_AP_50"] = c.ap_50
    return figures
