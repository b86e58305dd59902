"""Draw the report's best and worst images, and galleries of missed cells and false positives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.errors import CellsegError
from cellseg.palette import color_of
from cellseg.report.inputs import ReportInput, ReportOptions
from cellseg.report.pictures import (
    Picture,
    choose_window,
    draw_crop,
    draw_panel,
    encode_picture,
    touches_window,
)
from cellseg.report.sections import choose_cells, color_class_of, rank_images
from cellseg.scoring.outcomes import CellOutcomes, measure_diameters
from cellseg.scoring.results import ImageResult
from cellseg.structures.cells import Cells

PICTURE_BYTES = 2_600_000
"""What all whole images together may take, before base64; the galleries take a quarter more."""


@dataclass(frozen=True)
class PicturePair:
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
    color_class: str
    image_name: str
    details: list[str]


def draw_pictures(
    given: ReportInput, outcomes: Sequence[CellOutcomes], options: ReportOptions
) -> dict[str, Any]:
    """Draw what the template shows of single images and cells.

    Args:
        given: Results, images and names.
        outcomes: What became of the cells of each image.
        options: How much to show.

    Returns:
        `groups` of image pairs, the crops `missed` and `false_positives`, and the number of each.
    """
    worst, best = rank_images(outcomes, options.max_images)
    num_panels = 2 * max(len(worst) + len(best), 6)
    missed, false_positives = list_errors(given.results, outcomes)
    chosen = [choose_cells(cells, options.max_cells) for cells in (missed, false_positives)]
    crop_bytes = PICTURE_BYTES // 4 // max(sum(map(len, chosen)), 24)
    return {
        "groups": [
            (title, [_draw_pair(given, i, outcomes[i], PICTURE_BYTES // num_panels) for i in order])
            for title, order in (
                ("Worst images" if best else "The image", worst),
                ("Best images", best),
            )
            if order
        ],
        "missed": _draw_crops(given, chosen[0], True, options, crop_bytes),
        "false_positives": _draw_crops(given, chosen[1], False, options, crop_bytes),
        "num_missed": len(missed),
        "num_false_positives": len(false_positives),
    }


def list_errors(
    results: Sequence[ImageResult], outcomes: Sequence[CellOutcomes]
) -> tuple[list[tuple[int, int, float]], list[tuple[int, int, float]]]:
    """List missed cells by size and false positives by score, as (image, cell, weight)."""
    missed: list[tuple[int, int, float]] = []
    false_positives: list[tuple[int, int, float]] = []
    for image, (result, outcome) in enumerate(zip(results, outcomes, strict=True)):
        if result.ground_truth is None:
            continue
        for cell in outcome.gt_index[~outcome.found].tolist():
            missed.append((image, cell, float(result.ground_truth.areas[cell])))
        for cell in outcome.pred_index[outcome.false_positive].tolist():
            false_positives.append((image, cell, float(result.predictions.confidences[cell])))
    return missed, false_positives


def _draw_pair(
    given: ReportInput, place: int, outcome: CellOutcomes, max_bytes: int
) -> PicturePair:
    """Draw one image with the outlines of both sides; what is wrong is filled."""
    name = given.image_names[place]
    truth, found = _take_sides(given.results[place], name)
    image = given.read_image(place)
    labels = np.where(truth.is_ignored, -1, truth.labels)
    filled = np.zeros(len(labels), dtype=bool)
    filled[outcome.gt_index[~outcome.right]] = True
    kept = outcome.pred_index
    several = len(given.class_names) > 1
    num_other = int((outcome.found & ~outcome.right).sum())
    cells = f"{len(outcome.gt_index):,} cell{'' if len(outcome.gt_index) == 1 else 's'}"
    text = f"{cells}: {int((~outcome.found).sum()):,} missed, "
    text += f"{num_other:,} taken for another class, " if several else ""
    num_unmatched = int(outcome.false_positive.sum())
    text += f"{num_unmatched:,} false positive{'' if num_unmatched == 1 else 's'}"
    palette = given.colors
    left = draw_panel(image, truth.crops(), labels, filled, palette)
    shown = found[kept]
    right = draw_panel(image, shown.crops(), shown.labels, outcome.wrong, palette)
    alts = (
        f"Image {name}, ground truth: {cells} outlined; "
        f"filled, because missed{' or taken for another class' if several else ''}: "
        f"{int(filled.sum()):,}.",
        f"Image {name}, {len(kept):,} predictions outlined; "
        f"filled, because a false positive{' or of another class' if several else ''}: "
        f"{int(outcome.wrong.sum()):,}.",
    )
    pictures = [encode_picture(*side, max_bytes) for side in ((left, alts[0]), (right, alts[1]))]
    return PicturePair(name, f"{outcome.f1:.3f}", text, *pictures)


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
        image = given.read_image(place)
        for index in (cell for owner, cell, _ in chosen if owner == place):
            drawn = _draw_cell(given, place, image, index, missed, options.score_thr)
            crops[place, index] = _describe_crop(given, place, index, missed, drawn, max_bytes)
    return [crops[place, index] for place, index, _ in chosen]


def _draw_cell(
    given: ReportInput,
    place: int,
    image: NDArray[np.uint8],
    index: int,
    missed: bool,
    score_thr: float,
) -> NDArray[np.uint8]:
    """Draw a missed cell with the predictions around it, or a false positive with the truth."""
    result = given.results[place]
    truth, found = _take_sides(result, given.image_names[place])
    own, others = (truth, found) if missed else (found, truth)
    window = choose_window(own.boxes[index].tolist(), result.height, result.width)
    near = touches_window(others.boxes, window)
    near &= found.confidences >= score_thr if missed else ~truth.is_ignored
    color = color_of(int(own.labels[index]), given.colors)
    return draw_crop(image, window, own[index].crops()[0], color, others[near].crops())


def _describe_crop(
    given: ReportInput,
    place: int,
    index: int,
    missed: bool,
    drawn: NDArray[np.uint8],
    max_bytes: int,
) -> CellCrop:
    """Say what a crop shows."""
    image_name = given.image_names[place]
    truth, found = _take_sides(given.results[place], image_name)
    own = truth if missed else found
    label = int(own.labels[index])
    x, y = ((own.boxes[index, :2] + own.boxes[index, 2:]) / 2).round().astype(int)
    details = [f"{measure_diameters(own.areas[[index]])[0]:.0f} px across"]
    if not missed:
        details.insert(0, f"score {found.confidences[index]:.2f}")
    name = given.class_names[label]
    word = "Missed" if missed else "False positive:"
    alt = f"{word} {name} in image {image_name} at x {x}, y {y}: {', '.join(details)}."
    return CellCrop(
        encode_picture(drawn, alt, max_bytes), name, color_class_of(label), image_name, details
    )


def _take_sides(result: ImageResult, name: str) -> tuple[Cells, Cells]:
    """Return ground truth and predictions of a result, both with masks."""
    truth, found = result.ground_truth, result.predictions
    if truth is None or truth.masks is None or found.masks is None:
        raise CellsegError(f"Image {name} came without masks to draw; give the .segm.json.")
    return truth, found
