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
from cellseg.visualization.overlays import DEFAULT_PALETTE, Colour, colour_of
from cellseg.visualization.report_gallery import draw_pictures
from cellseg.visualization.report_inputs import ReportInput, ReportOptions

_LIGHT_PAPER, _DARK_PAPER = (251, 250, 253), (21, 18, 28)
_LEAST_CONTRAST = 3.0  # of figures against the page, as WCAG 2.1 asks of graphics


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


def make_inks(palette: Sequence[Colour], num_classes: int) -> list[tuple[str, str, str]]:
    """Choose how each class's colour is drawn.

    Args:
        palette: RGB colours of the classes; our own when empty.
        num_classes: How many classes there are.

    Returns:
        For each class the colour as it is on images, and variants of it that can be seen on the
        light and on the dark page, as #rrggbb.
    """
    inks = []
    for label in range(num_classes):
        colour = colour_of(label, palette or DEFAULT_PALETTE)
        light, dark = (_contrast(colour, paper) for paper in (_LIGHT_PAPER, _DARK_PAPER))
        inks.append(tuple(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in (colour, light, dark)))
    return inks  # type: ignore[return-value]


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


def _contrast(colour: Colour, paper: Colour) -> Colour:
    """Darken or lighten a colour until it can be told from the paper."""
    target = 0 if _luminance(paper) > 0.5 else 255
    for step in range(21):
        mixed = tuple(round(c + (target - c) * step / 20) for c in colour)
        lights = sorted((_luminance(mixed), _luminance(paper)))
        if (lights[1] + 0.05) / (lights[0] + 0.05) >= _LEAST_CONTRAST:
            break
    return mixed  # type: ignore[return-value]


def _luminance(colour: Sequence[int]) -> float:
    """Compute the relative luminance of WCAG 2.1."""
    parts = [c / 255 for c in colour]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
