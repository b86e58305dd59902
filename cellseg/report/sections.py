"""Turn figures into what the report's template shows: rows, charts, pairs of images, crops."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellseg.analysis.confusion import FALSE_POSITIVE, Confusion
from cellseg.analysis.curves import make_curves
from cellseg.analysis.training_logs import Axis, TrainingRun
from cellseg.report.charts import Chart, Series, draw_lines, draw_size_bands
from cellseg.scoring.average_precision import AveragePrecision
from cellseg.scoring.outcomes import (
    CellOutcomes,
    band_recall,
    choose_size_edges,
    measure_diameters,
)
from cellseg.scoring.precision_recall import RECALL_LEVELS, PrecisionRecall
from cellseg.scoring.results import ImageResult
from cellseg.scoring.scores import Scores

COLUMNS = {
    "AP": "mean AP over mask IoU 0.50 to 0.95, as COCO",
    "AP50": "average precision at mask IoU 0.50",
    "AP75": "average precision at mask IoU 0.75",
    "PQ": "panoptic quality, DQ x SQ",
    "DQ": "detection quality: F1 at mask IoU above 0.5",
    "SQ": "segmentation quality: mean IoU of the matched cells",
    "precision": "share of the predictions that match a cell",
    "recall": "share of the cells that are matched",
    "AJI": "aggregated Jaccard index",
    "Dice": "overlap of the two foregrounds",
}
"""The columns of the result table and what they mean."""

_VAL_MARKS = {
    "segm_mAP_50": "AP50",
    "segm_mAP": "AP",
    "bbox_mAP_50": "AP50 of boxes",
    "mPQ": "PQ",
}
_VAL_COLORS = ("accent", "second", "third", "quiet")
_AXIS_WORDS = {"iter": "iteration", "epoch": "epoch"}
SMOOTHING = 0.8
"""Weight of the moving average of a long training's loss."""

_NOISY_RECORDS = 150
_MAX_DOT_CLASSES = 6  # more dots in a band cannot be told apart


@dataclass(frozen=True)
class ResultRow:
    """A row of the result table; `values` is empty where there is nothing to measure."""

    name: str
    color_class: str
    num_cells: str
    num_predicted: str
    values: list[str]
    is_total: bool = False


@dataclass(frozen=True)
class ClassSummaryRow:
    """What became of the cells of one class; widths are in percent of the longest row."""

    name: str
    color_class: str
    num_cells: int
    found: int
    other: int
    missed: int
    false_positives: int
    widths: dict[str, float]


@dataclass(frozen=True)
class Field:
    """A field of the confusion matrix: count, share of the row in percent, and tint 0 to 1."""

    count: str
    share: str
    tint: float
    kind: str


def color_class_of(label: int) -> str:
    """Return the CSS class that carries a class's color."""
    return f"class-{label}"


def make_result_rows(scores: Scores, precision: AveragePrecision) -> list[ResultRow]:
    """Lay the result table out, one row a class and below them the means.

    Args:
        scores: F1, PQ, AJI and Dice.
        precision: AP of the same classes.

    Returns:
        The rows; with a single class its own only.
    """
    names = ("PQ", "DQ", "SQ", "precision_50", "recall_50", "AJI", "Dice")
    rows = []
    for label, (group, own) in enumerate(zip(scores.classes, precision.classes, strict=True)):
        values = [own.ap, own.ap_50, own.ap_75, *(group.values.get(name) for name in names)]
        texts = [_write_share(value) for value in values] if group.values else []
        counts = f"{group.num_cells:,}", f"{group.num_predicted:,}"
        rows.append(ResultRow(group.name, color_class_of(label), *counts, texts))
    if len(rows) > 1 and scores.means:
        means = [precision.means[name] for name in ("mAP", "mAP_50", "mAP_75")]
        texts = [_write_share(v) for v in [*means, *(scores.means[name] for name in names)]]
        total = scores.any_class
        counts = f"{total.num_cells:,}", f"{total.num_predicted:,}"
        rows.append(ResultRow("Mean of classes", "", *counts, texts, True))
    return rows


def make_class_summary(confusion: Confusion) -> list[ClassSummaryRow]:
    """Say for each class how many cells were found, misnamed or missed, and the false positives.

    Args:
        confusion: The matrix.

    Returns:
        One row per class, longest bars 100 % wide.
    """
    counts = confusion.counts
    rows = []
    for label, name in enumerate(confusion.class_names):
        cells = int(counts[label].sum())
        found, missed = int(counts[label, label]), int(counts[label, -1])
        parts = {"found": found, "other": cells - found - missed, "missed": missed}
        parts["false-positives"] = int(counts[-1, label])
        rows.append((label, name, cells, parts))
    # A class of few cells and many false positives must not squeeze the others to nothing.
    longest = max(
        (min(1 + p["false-positives"] / cells, 2.0) for _, _, cells, p in rows if cells),
        default=1.0,
    )
    made = []
    for label, name, cells, parts in rows:
        widths = {k: 100 * v / max(cells, 1) / longest for k, v in parts.items()}
        room = 100 - sum(widths[key] for key in ("found", "other", "missed"))
        widths["false-positives"] = min(widths["false-positives"], room)
        made.append(
            ClassSummaryRow(
                name=name,
                color_class=color_class_of(label),
                num_cells=cells,
                found=parts["found"],
                other=parts["other"],
                missed=parts["missed"],
                false_positives=parts["false-positives"],
                widths=widths,
            )
        )
    return made


def make_confusion_rows(confusion: Confusion) -> list[tuple[str, list[Field | None]]]:
    """Lay the confusion matrix out: a name and fields for each row, None for the empty corner."""
    names = [*confusion.class_names, FALSE_POSITIVE]
    last = len(names) - 1
    shares = confusion.shares
    rows: list[tuple[str, list[Field | None]]] = []
    for row, name in enumerate(names):
        fields: list[Field | None] = []
        for column in range(len(names)):
            share = float(shares[row, column])
            known = not math.isnan(share)
            kind = "right" if row == column else "wrong"
            if last in (row, column):
                kind = "missed" if column == last else "extra"
            fields.append(
                None
                if row == column == last
                else Field(
                    f"{int(confusion.counts[row, column]):,}",
                    f"{100 * share:.1f} %" if known else "",
                    round(share**0.6, 3) if known else 0.0,
                    kind,
                )
            )
        rows.append((name, fields))
    return rows


def draw_training(run: TrainingRun) -> list[Chart]:
    """Draw what training logged: its loss, and the scores of validation.

    Args:
        run: The run.

    Returns:
        None, one or two charts.
    """
    axis: Axis = "iter" if run.iters_per_epoch is None else "epoch"
    charts = (_draw_loss(run, axis), _draw_scores(run, axis))
    return [chart for chart in charts if chart is not None]


def _draw_loss(run: TrainingRun, axis: Axis) -> Chart | None:
    """Draw the loss; None where it was not logged twice."""
    # mmengine logs a mean over some iterations already: only a long record needs more.
    weight = SMOOTHING if len(run.train) > _NOISY_RECORDS else 0.0
    curves = make_curves([run], "loss", weight, axis)
    if not curves or len(curves[0].places) < 2:
        return None
    curve, word = curves[0], _AXIS_WORDS[axis]
    series = [Series("loss", "accent", curve.places, curve.values)]
    if curve.raw is not None:
        series.insert(0, Series("", "accent", curve.places, curve.raw, faint=True))
    summary = (
        f"The training loss goes from {curve.values[0]:.3g} to {curve.values[-1]:.3g} over "
        f"{curve.places[-1]:.0f} {word}s."
    )
    top = 1.04 * float(np.max(curve.values if curve.raw is None else curve.raw))
    return draw_lines("Training loss", series, (word, "loss"), summary, y_range=(0.0, top))


def _draw_scores(run: TrainingRun, axis: Axis) -> Chart | None:
    """Draw the scores of validation; None where there were none."""
    word, summary = _AXIS_WORDS[axis], "Scores on the validation images during training."
    series: list[Series] = []
    for place, (mark, name) in enumerate(_VAL_MARKS.items()):
        key = next((key for key in run.keys()[1] if key.endswith(mark)), None)
        drawn = [] if key is None else make_curves([run], key, 0.0, axis)
        if key is None or not drawn:
            continue
        places, values = drawn[0].places, drawn[0].values
        series.append(Series(name, _VAL_COLORS[place], places, values, place))
        if len(series) == 1:
            best = int(np.argmax(values))
            summary = f"{name} is best at {word} {places[best]:g}, with {values[best]:.3f}."
    if not series:
        return None
    ends = (0.0, max(float(np.max(line.xs)) for line in series))
    return draw_lines("Validation", series, (word, "score"), summary, ends, (0.0, 1.0))


def draw_precision_recall(
    curves: Sequence[PrecisionRecall], iou_thr: float, score_thr: float
) -> Chart:
    """Draw precision against recall of each class that has cells.

    Args:
        curves: One curve a class.
        iou_thr: The IoU they were traced at, for the title.
        score_thr: Marked with a dot on each curve.

    Returns:
        The chart.
    """
    series = []
    for label, curve in enumerate(curves):
        if not curve.num_cells:
            continue
        levels = curve.levels
        reached = int(np.searchsorted(-levels, 0.0, side="left"))  # levels never rise
        series.append(
            Series(
                curve.name,
                color_class_of(label),
                RECALL_LEVELS[:reached],
                levels[:reached],
                label,
                curve.at_score(score_thr),
                f"AP {curve.average:.3f}",
            )
        )
    parts = ", ".join(f"{s.name} {s.note}" for s in series)
    summary = f"Precision against recall at mask IoU {iou_thr:.2f}: {parts}."
    title = f"Mask IoU {iou_thr:.2f}"
    return draw_lines(title, series, ("recall", "precision"), summary, (0.0, 1.0), (0.0, 1.0))


def draw_recall_by_size(
    results: Sequence[ImageResult], outcomes: Sequence[CellOutcomes], class_names: Sequence[str]
) -> Chart:
    """Draw the share of cells found in bands of size, for all cells and for each class.

    Args:
        results: One result per image, with at least one cell in all.
        outcomes: What became of its cells.
        class_names: The classes.

    Returns:
        The chart.
    """
    areas, labels, found = collect_cells(results, outcomes)
    diameters = measure_diameters(areas)
    edges = choose_size_edges(diameters)
    bands = band_recall(diameters, found, edges)
    classes = []
    if 1 < len(class_names) <= _MAX_DOT_CLASSES:
        for label, name in enumerate(class_names):
            own = labels == label
            if own.any():
                classes.append(
                    (name, color_class_of(label), band_recall(diameters[own], found[own], edges))
                )
    weakest = min(bands, key=lambda band: band.recall if band.num_cells else 2.0)
    summary = (
        f"Share of cells found by diameter, {len(areas):,} cells from {edges[0]:g} to "
        f"{edges[-1]:g} px. Fewest are found from {weakest.low_px:g} to {weakest.high_px:g} px: "
        f"{weakest.num_found:,} of {weakest.num_cells:,}."
    )
    return draw_size_bands("Cells found, by size", bands, classes, summary)


def collect_cells(
    results: Sequence[ImageResult], outcomes: Sequence[CellOutcomes]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Collect areas (N,), classes (N,) and whether found (N,) of the annotated cells."""
    areas: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    labels: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    found: list[NDArray[np.bool_]] = [np.zeros(0, np.bool_)]
    for result, outcome in zip(results, outcomes, strict=True):
        if result.ground_truth is not None:
            areas.append(result.ground_truth.areas[outcome.gt_index])
            labels.append(result.ground_truth.labels[outcome.gt_index])
            found.append(outcome.found)
    return np.concatenate(areas), np.concatenate(labels), np.concatenate(found)


def rank_images(outcomes: Sequence[CellOutcomes], count: int) -> tuple[list[int], list[int]]:
    """Choose the images to show, without showing one twice.

    Args:
        outcomes: One an image.
        count: Images of each kind at most.

    Returns:
        The worst ones, worst first, and the best ones, best first; of equal ones those with more
        cells. Images with neither cells nor predictions are left out.
    """
    sizes = [len(outcome.gt_index) for outcome in outcomes]
    shown = [index for index, outcome in enumerate(outcomes) if not math.isnan(outcome.f1)]
    worst = sorted(shown, key=lambda i: (outcomes[i].f1, -sizes[i]))[
        : min(count, (len(shown) + 1) // 2)
    ]
    rest = [index for index in shown if index not in worst]
    best = sorted(rest, key=lambda i: (-outcomes[i].f1, -sizes[i]))[:count]
    return worst, best


def choose_cells(
    candidates: Sequence[tuple[int, int, float]], limit: int
) -> list[tuple[int, int, float]]:
    """Choose cells for a gallery, the weightiest first, spread over the images.

    Args:
        candidates: (image, cell, weight) of each.
        limit: How many to choose at most.

    Returns:
        The chosen ones by weight. No image takes more than its share unless others leave room.
    """
    ordered = sorted(candidates, key=lambda entry: -entry[2])
    if len(ordered) <= limit:
        return ordered
    share = math.ceil(limit / len({image for image, _, _ in ordered}))
    taken: dict[int, int] = {}
    first: list[tuple[int, int, float]] = []
    later: list[tuple[int, int, float]] = []
    for entry in ordered:
        taken[entry[0]] = taken.get(entry[0], 0) + 1
        (first if taken[entry[0]] <= share else later).append(entry)
    return sorted((first + later)[:limit], key=lambda entry: -entry[2])


def _write_share(value: float | None) -> str:
    """Write a figure with three digits; a dash where there is none."""
    return "–" if value is None or math.isnan(value) or value < 0 else f"{value:.3f}"
