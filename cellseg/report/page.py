"""Write one self-contained HTML page that says how good predictions are, and where they fail.

The page needs no network and no script: figures are SVG, pictures are data URIs, and a content
security policy forbids the browser to load anything. Names come from data and are escaped.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cellseg.analysis.confusion import Confusion, confuse_outcomes
from cellseg.errors import CellsegError, as_cellseg_error
from cellseg.report import sections
from cellseg.report.gallery import draw_pictures
from cellseg.report.inputs import ReportInput, ReportOptions
from cellseg.report.warnings import find_warnings, summarize_warnings
from cellseg.scoring.average_precision import AveragePrecision, compute_average_precision
from cellseg.scoring.counts import count_scene
from cellseg.scoring.outcomes import CellOutcomes, classify_cells
from cellseg.scoring.precision_recall import trace_precision_recall
from cellseg.scoring.scene import build_result_scene
from cellseg.scoring.scores import Scores, compute_scores
from cellseg.visualization.chart_colors import choose_chart_colors


def build_report(given: ReportInput, options: ReportOptions | None = None) -> str:
    """Score the results, draw the charts and write the page.

    Args:
        given: Results, ground truth, images and names.
        options: What to count and show.

    Returns:
        The HTML.

    Raises:
        CellsegError: If there is no annotated cell to compare with, or a result does not fit.
    """
    options = options or ReportOptions()
    classes = list(given.class_names)
    with as_cellseg_error():
        precision = compute_average_precision(given.results, classes, max_dets=options.max_dets)
        scenes = [build_result_scene(r, len(classes), options.score_thr) for r in given.results]
        outcomes = [classify_cells(scene, options.iou_thr) for scene in scenes]
        confusion = confuse_outcomes(outcomes, classes, options.score_thr, options.iou_thr)
        scores = compute_scores([count_scene(scene) for scene in scenes], classes)
    if not scores.any_class.num_cells:
        raise CellsegError(
            f"{given.title}: the {len(given.results)} images hold no annotated cell, so there is "
            "nothing to compare the predictions with. Choose a split with annotations by --split."
        )
    warnings = find_warnings(confusion, len(given.results), given.run)
    context = {
        **_summarize(scores, precision, confusion),
        **_draw_figures(given, outcomes, options),
        **draw_pictures(given, outcomes, options),
        "title": given.title,
        "created": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        "sources": dict(given.sources),
        "notes": list(given.notes),
        "warnings": warnings,
        "warnings_title": summarize_warnings(warnings),
        "options": options,
        "num_images": len(given.results),
        "num_classes": len(classes),
        "chart_colors": choose_chart_colors(given.colors, len(classes)),
    }
    return make_environment().get_template("report.html").render(context)


def make_environment() -> Environment:
    """Return the template environment: everything is escaped, and a missing value is an error."""
    return Environment(
        loader=PackageLoader("cellseg.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _summarize(scores: Scores, precision: AveragePrecision, confusion: Confusion) -> dict[str, Any]:
    """Collect the sentence, the main figures and the table."""
    class_summary = sections.make_class_summary(confusion)
    totals = {
        key: sum(getattr(row, key) for row in class_summary)
        for key in ("num_cells", "found", "other", "missed", "false_positives")
    }
    several = len(scores.classes) > 1
    mean = ", mean of classes" if several else ""
    means = precision.means
    every = scores.any_class.values
    key_figures = [
        ("AP50", means["mAP_50"], f"average precision at mask IoU 0.50{mean}"),
        ("AP", means["mAP"], f"over mask IoU 0.50 to 0.95{mean}"),
        ("PQ", scores.means["PQ"], f"panoptic quality{mean}"),
        ("recall", every["recall_50"], "cells found, whatever their class"),
        ("precision", every["precision_50"], "predictions that are cells"),
    ]
    ranked = sorted(
        (c for c in precision.classes if not math.isnan(c.ap_50)), key=lambda c: -c.ap_50
    )
    return {
        "class_summary": class_summary,
        "totals": totals,
        "key_figures": [(name, f"{value:.3f}", text) for name, value, text in key_figures],
        "columns": sections.COLUMNS,
        "rows": sections.make_result_rows(scores, precision),
        "extremes": (ranked[0], ranked[-1]) if several and len(ranked) > 1 else None,
        "confusion": sections.make_confusion_rows(confusion),
        "class_names": list(confusion.class_names),
    }


def _draw_figures(
    given: ReportInput, outcomes: Sequence[CellOutcomes], options: ReportOptions
) -> dict[str, Any]:
    """Lay out the charts."""
    charts = [
        sections.draw_precision_recall(
            trace_precision_recall(given.results, given.class_names, iou_thr, options.max_dets),
            iou_thr,
            options.score_thr,
        )
        for iou_thr in (0.5, 0.75)
    ]
    return {
        "training": [] if given.run is None else sections.draw_training(given.run),
        "smoothing": sections.SMOOTHING,
        "precision_recall": charts,
        "by_size": sections.draw_recall_by_size(given.results, outcomes, given.class_names),
    }
