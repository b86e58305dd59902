"""Write one self-contained HTML page that says how good predictions are, and where they fail.

The page needs no network and no script: figures are SVG, pictures are data URIs, and a content
security policy forbids the browser to load anything. Names come from data and are escaped.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cellseg.errors import CellsegError, as_cellseg_error
from cellseg.evaluation.average_precision import AveragePrecision, compute_average_precision
from cellseg.evaluation.cell_outcomes import ImageOutcome, sort_outcomes
from cellseg.evaluation.confusion import Confusion, confuse_results
from cellseg.evaluation.image_counts import count_result
from cellseg.evaluation.judgement import Judgement, judge
from cellseg.evaluation.precision_recall import trace_precision_recall
from cellseg.visualization import report_sections as sections
from cellseg.visualization.inks import make_inks
from cellseg.visualization.report_gallery import draw_pictures
from cellseg.visualization.report_inputs import ReportInput, ReportOptions


def build_report(given: ReportInput, options: ReportOptions | None = None) -> str:
    """Judge, draw and write the page.

    Args:
        given: Results, ground truth, images and names.
        options: What to count and show.

    Returns:
        The HTML.

    Raises:
        CellsegError: If there is no annotated cell to judge by, or a result does not fit.
    """
    options = options or ReportOptions()
    classes = list(given.class_names)
    with as_cellseg_error():
        precision = compute_average_precision(given.results, classes, max_dets=options.max_dets)
        counts = [count_result(r, len(classes), options.score_thr) for r in given.results]
        outcomes = [
            sort_outcomes(result, len(classes), options.score_thr, options.iou_thr)
            for result in given.results
        ]
        confusion = confuse_results(given.results, classes, options.score_thr, options.iou_thr)
        judgement = judge(counts, classes)
    if not judgement.any_class.num_cells:
        raise CellsegError(
            f"{given.title}: the {len(given.results)} images hold no annotated cell, so there is "
            "nothing to judge the predictions by. Choose a split with annotations by --split."
        )
    context = {
        **_summarise(judgement, precision, confusion, options),
        **_draw_figures(given, outcomes, confusion, options),
        **draw_pictures(given, outcomes, options),
        "title": given.title,
        "created": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        "sources": dict(given.sources),
        "notes": list(given.notes),
        "options": options,
        "num_images": len(given.results),
        "num_classes": len(classes),
        "inks": make_inks(given.palette, len(classes)),
    }
    return make_environment().get_template("report.html").render(context)


def make_environment() -> Environment:
    """Return the template environment: everything is escaped, and a missing value is an error."""
    return Environment(
        loader=PackageLoader("cellseg.visualization", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _summarise(
    judgement: Judgement,
    precision: AveragePrecision,
    confusion: Confusion,
    options: ReportOptions,
) -> dict[str, Any]:
    """Collect the sentence, the headline figures and the table."""
    ledger = sections.make_ledger(confusion)
    totals = {
        key: sum(getattr(row, key) for row in ledger)
        for key in ("num_cells", "found", "other", "missed", "invented")
    }
    several = len(judgement.classes) > 1
    mean = ", mean of classes" if several else ""
    means = precision.means
    every = judgement.any_class.values
    headline = [
        ("AP50", means["mAP_50"], f"average precision at mask IoU 0.50{mean}"),
        ("AP", means["mAP"], f"over mask IoU 0.50 to 0.95{mean}"),
        ("PQ", judgement.means["PQ"], f"panoptic quality{mean}"),
        ("recall", every["recall_50"], "cells found, whatever their class"),
        ("precision", every["precision_50"], "predictions that are cells"),
    ]
    ranked = sorted(
        (c for c in precision.classes if not math.isnan(c.ap_50)), key=lambda c: -c.ap_50
    )
    return {
        "ledger": ledger,
        "totals": totals,
        "headline": [(name, f"{value:.3f}", text) for name, value, text in headline],
        "columns": sections.COLUMNS,
        "rows": sections.make_result_rows(judgement, precision),
        "extremes": (ranked[0], ranked[-1]) if several and len(ranked) > 1 else None,
        "confusion": sections.make_confusion_rows(confusion),
        "class_names": list(confusion.class_names),
    }


def _draw_figures(
    given: ReportInput,
    outcomes: Sequence[ImageOutcome],
    confusion: Confusion,
    options: ReportOptions,
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
        "precision_recall": charts,
        "by_size": sections.draw_recall_by_size(given.results, outcomes, given.class_names),
    }
