"""Write one self-contained HTML page that says how good predictions are, and where they fail.

The page needs no network and no script: figures are SVG, pictures are data URIs, and a content
security policy forbids the browser to load anything. Names come from data and are escaped.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from cellseg.errors import CellsegError
from cellseg.evaluation.average_precision import AveragePrecision, compute_average_precision
from cellseg.evaluation.cell_outcomes import ImageOutcome, measure_diameters, sort_outcomes
from cellseg.evaluation.coco_results import ImageResult
from cellseg.evaluation.confusion import Confusion, confuse_results
from cellseg.evaluation.image_counts import DEFAULT_SCORE_THR, count_result
from cellseg.evaluation.judgement import Judgement, judge
from cellseg.evaluation.precision_recall import trace_precision_recall
from cellseg.visualization import report_sections as sections
from cellseg.visualization.overlays import DEFAULT_PALETTE, Colour, colour_of
from cellseg.visualization.report_pictures import (
    Picture,
    choose_window,
    draw_crop,
    draw_panel,
    encode_picture,
    touches_window,
)
from cellseg.visualization.training_logs import TrainingRun

ReadImage = Callable[[int], NDArray[np.uint8]]

PICTURE_BYTES = 2_600_000
"""What all whole images together may take, before base64; half of it for the gallery's crops."""

_LIGHT_PAPER, _DARK_PAPER = (251, 250, 253), (21, 18, 28)
_LEAST_CONTRAST = 3.0  # of figures against the page, as WCAG 2.1 asks of graphics


@dataclass(frozen=True)
class ReportOptions:
    """What to count and how much to show.

    Attributes:
        score_thr: Predictions below count in AP only.
        iou_thr: Cells match when their mask IoU is greater.
        max_dets: The best-scored predictions that count in AP, for each image and class.
        max_images: Best and worst images at most, of each.
        max_cells: Missed and invented cells at most, of each.
    """

    score_thr: float = DEFAULT_SCORE_THR
    iou_thr: float = 0.5
    max_dets: int = 1000
    max_images: int = 3
    max_cells: int = 24


@dataclass(frozen=True)
class ReportInput:
    """What a report is made from.

    Attributes:
        title: Title of the page.
        class_names: The classes in order.
        palette: RGB colour of each class.
        image_names: A name for each result's image.
        results: One result an image, with ground truth and masks.
        read_image: Returns the RGB pixels (H, W, 3) of the image of a result, by its place.
        run: What training logged; None without a log.
        sources: What is said about where all this comes from: label to text.
        notes: Sentences that a reader of the figures must know.
    """

    title: str
    class_names: Sequence[str]
    palette: Sequence[Colour]
    image_names: Sequence[str]
    results: Sequence[ImageResult]
    read_image: ReadImage
    run: TrainingRun | None = None
    sources: Mapping[str, str] | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class ImagePair:
    """An image twice: the ground truth and the predictions."""

    name: str
    f1: str
    text: str
    truth: Picture
    predicted: Picture


@dataclass(frozen=True)
class CellCrop:
    """A cell of the gallery."""

    picture: Picture
    class_name: str
    ink: str
    image_name: str
    detail: str


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
    try:
        precision = compute_average_precision(given.results, classes, max_dets=options.max_dets)
        counts = [count_result(r, len(classes), options.score_thr) for r in given.results]
        outcomes = [
            sort_outcomes(result, len(classes), options.score_thr, options.iou_thr)
            for result in given.results
        ]
        confusion = confuse_results(given.results, classes, options.score_thr, options.iou_thr)
    except ValueError as error:
        raise CellsegError(str(error)) from error
    judgement = judge(counts, classes)
    if not judgement.any_class.num_cells:
        raise CellsegError(
            f"{given.title}: the {len(given.results)} images hold no annotated cell, so there is "
            "nothing to judge the predictions by. Choose a split with annotations by --split."
        )
    context = {
        **_summarise(judgement, precision, confusion, options),
        **_draw_figures(given, outcomes, confusion, options),
        **_draw_pictures(given, outcomes, options),
        "title": given.title,
        "created": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        "sources": dict(given.sources or {}),
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
    means = precision.means
    every = judgement.any_class.values
    headline = [
        ("AP50", means["mAP_50"], "average precision at mask IoU 0.50"),
        ("AP", means["mAP"], "over mask IoU 0.50 to 0.95"),
        ("PQ", judgement.means["PQ"], "panoptic quality"),
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


def _draw_pictures(
    given: ReportInput, outcomes: Sequence[ImageOutcome], options: ReportOptions
) -> dict[str, Any]:
    """Draw images and crops; each image is read once for the one and once for the other."""
    worst, best = sections.rank_images(outcomes, options.max_images)
    num_panels = 2 * max(len(worst) + len(best), 6)
    missed, invented = list_errors(given.results, outcomes)
    chosen = [sections.choose_cells(cells, options.max_cells) for cells in (missed, invented)]
    crop_bytes = PICTURE_BYTES // 4 // max(sum(map(len, chosen)), 24)
    return {
        "groups": [
            (title, [_draw_pair(given, i, outcomes[i], PICTURE_BYTES // num_panels) for i in order])
            for title, order in (("Worst images", worst), ("Best images", best))
            if order
        ],
        "missed": _draw_crops(given, chosen[0], True, options, crop_bytes),
        "invented": _draw_crops(given, chosen[1], False, options, crop_bytes),
        "num_missed": len(missed),
        "num_invented": len(invented),
    }


def list_errors(
    results: Sequence[ImageResult], outcomes: Sequence[ImageOutcome]
) -> tuple[list[tuple[int, int, float]], list[tuple[int, int, float]]]:
    """List the missed cells by size and the invented ones by score, as (image, cell, weight)."""
    missed: list[tuple[int, int, float]] = []
    invented: list[tuple[int, int, float]] = []
    for image, (result, outcome) in enumerate(zip(results, outcomes, strict=True)):
        if result.ground_truth is None:
            continue
        for cell in outcome.gt_index[~outcome.found].tolist():
            missed.append((image, cell, float(result.ground_truth.areas[cell])))
        for cell in outcome.pred_index[outcome.invented].tolist():
            invented.append((image, cell, float(result.predictions.scores[cell])))
    return missed, invented


def _draw_pair(given: ReportInput, place: int, outcome: ImageOutcome, max_bytes: int) -> ImagePair:
    """Draw one image with the outlines of both sides; what is wrong is filled."""
    result, name = given.results[place], given.image_names[place]
    truth, found = result.ground_truth, result.predictions
    if truth is None or truth.rles is None or found.rles is None:
        raise CellsegError(f"Image {name} came without masks to draw.")
    image = given.read_image(place)
    labels = np.where(truth.ignored, -1, truth.labels)
    filled = np.zeros(len(labels), dtype=bool)
    filled[outcome.gt_index[~outcome.right]] = True
    kept = outcome.pred_index
    rles = [found.rles[index] for index in kept.tolist()]
    num_missed, num_invented = int((~outcome.found).sum()), int(outcome.invented.sum())
    num_other = int((outcome.found & ~outcome.right).sum())
    text = f"{len(outcome.gt_index):,} cells: {num_missed:,} missed, "
    text += f"{num_other:,} taken for another class, " if len(given.class_names) > 1 else ""
    text += f"{num_invented:,} invented"
    return ImagePair(
        name,
        f"{outcome.f1:.3f}",
        text,
        encode_picture(
            draw_panel(image, truth.rles, labels, filled, given.palette),
            f"Image {name}, ground truth: {len(outcome.gt_index):,} cells outlined, of which "
            f"{int(filled.sum()):,} are filled because they were missed or taken for another "
            "class.",
            max_bytes,
        ),
        encode_picture(
            draw_panel(image, rles, found.labels[kept], outcome.wrong, given.palette),
            f"Image {name}, predictions: {len(kept):,} cells outlined, of which "
            f"{int(outcome.wrong.sum()):,} are filled because they were invented or are of "
            "another class.",
            max_bytes,
        ),
    )


def _draw_crops(
    given: ReportInput,
    chosen: Sequence[tuple[int, int, float]],
    missed: bool,
    options: ReportOptions,
    max_bytes: int,
) -> list[CellCrop]:
    """Draw the chosen cells, reading each image once."""
    crops: dict[tuple[int, int], CellCrop] = {}
    for place in dict.fromkeys(image for image, _, _ in chosen):
        result, image = given.results[place], given.read_image(place)
        for index in (cell for owner, cell, _ in chosen if owner == place):
            drawn = _draw_cell(given, result, image, index, missed, options.score_thr)
            crops[place, index] = _describe_crop(given, place, index, missed, drawn, max_bytes)
    return [crops[place, index] for place, index, _ in chosen]


def _draw_cell(
    given: ReportInput,
    result: ImageResult,
    image: NDArray[np.uint8],
    index: int,
    missed: bool,
    score_thr: float,
) -> NDArray[np.uint8]:
    """Draw a missed cell and the predictions around it, or an invented one and the truth."""
    truth, found = result.ground_truth, result.predictions
    if truth is None or truth.rles is None or found.rles is None:
        raise CellsegError(f"Image {result.img_id} came without masks to draw.")
    own, others = (truth, found) if missed else (found, truth)
    window = choose_window(own.boxes_xyxy[index].tolist(), result.height, result.width)
    near = touches_window(others.boxes_xyxy, window)
    near &= found.scores >= score_thr if missed else ~truth.ignored
    rles = others.rles or []
    colour = colour_of(int(own.labels[index]), given.palette or DEFAULT_PALETTE)
    around = [rles[k] for k in np.flatnonzero(near).tolist()]
    return draw_crop(image, window, (own.rles or [])[index], colour, around)


def _describe_crop(
    given: ReportInput,
    place: int,
    index: int,
    missed: bool,
    drawn: NDArray[np.uint8],
    max_bytes: int,
) -> CellCrop:
    """Say what a crop shows."""
    result, image_name = given.results[place], given.image_names[place]
    own = result.ground_truth if missed else result.predictions
    if own is None:
        raise CellsegError(f"Image {image_name} came without ground truth.")
    label = int(own.labels[index])
    x, y = ((own.boxes_xyxy[index, :2] + own.boxes_xyxy[index, 2:]) / 2).round().astype(int)
    diameter = float(measure_diameters(own.areas[[index]])[0])
    detail = f"{diameter:.0f} px"
    if not missed:
        detail = f"score {result.predictions.scores[index]:.2f}, {detail}"
    name = given.class_names[label]
    word = "Missed" if missed else "Invented"
    alt = f"{word} {name} in image {image_name} at x {x}, y {y}: {detail} across."
    picture = encode_picture(drawn, alt, max_bytes)
    return CellCrop(picture, name, sections.ink_of(label), image_name, detail)


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
