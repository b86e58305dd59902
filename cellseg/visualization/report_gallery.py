"""Draw the report's best and worst images, and its galleries of missed and invented cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.errors import CellsegError
from cellseg.evaluation.cell_outcomes import ImageOutcome, measure_diameters
from cellseg.evaluation.coco_results import GroundTruth, ImageResult, Predictions
from cellseg.structures.rle import RLE
from cellseg.visualization.overlays import DEFAULT_PALETTE, colour_of
from cellseg.visualization.report_inputs import ReportInput, ReportOptions
from cellseg.visualization.report_pictures import (
    Picture,
    choose_window,
    draw_crop,
    draw_panel,
    encode_picture,
    touches_window,
)
from cellseg.visualization.report_sections import choose_cells, ink_of, rank_images

PICTURE_BYTES = 2_600_000
"""What all whole images together may take, before base64; the galleries take a quarter more."""


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
    details: list[str]


def draw_pictures(
    given: ReportInput, outcomes: Sequence[ImageOutcome], options: ReportOptions
) -> dict[str, Any]:
    """Draw what the template shows of single images and cells.

    Args:
        given: Results, images and names.
        outcomes: What became of the cells of each image.
        options: How much to show.

    Returns:
        `groups` of image pairs, the crops `missed` and `invented`, and how many there are in all.
    """
    worst, best = rank_images(outcomes, options.max_images)
    num_panels = 2 * max(len(worst) + len(best), 6)
    missed, invented = list_errors(given.results, outcomes)
    chosen = [choose_cells(cells, options.max_cells) for cells in (missed, invented)]
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
    name = given.image_names[place]
    truth, truth_rles, found, found_rles = _take_masks(given.results[place], name)
    image = given.read_image(place)
    labels = np.where(truth.ignored, -1, truth.labels)
    filled = np.zeros(len(labels), dtype=bool)
    filled[outcome.gt_index[~outcome.right]] = True
    kept = outcome.pred_index
    several = len(given.class_names) > 1
    num_other = int((outcome.found & ~outcome.right).sum())
    cells = f"{len(outcome.gt_index):,} cell{'' if len(outcome.gt_index) == 1 else 's'}"
    text = f"{cells}: {int((~outcome.found).sum()):,} missed, "
    text += f"{num_other:,} taken for another class, " if several else ""
    text += f"{int(outcome.invented.sum()):,} invented"
    palette = given.palette or DEFAULT_PALETTE
    left = draw_panel(image, truth_rles, labels, filled, palette)
    rles = [found_rles[index] for index in kept.tolist()]
    right = draw_panel(image, rles, found.labels[kept], outcome.wrong, palette)
    alts = (
        f"Image {name}, ground truth: {cells} outlined; "
        f"filled, because missed{' or taken for another class' if several else ''}: "
        f"{int(filled.sum()):,}.",
        f"Image {name}, {len(kept):,} predictions outlined; "
        f"filled, because invented{' or of another class' if several else ''}: "
        f"{int(outcome.wrong.sum()):,}.",
    )
    pictures = [encode_picture(*side, max_bytes) for side in ((left, alts[0]), (right, alts[1]))]
    return ImagePair(name, f"{outcome.f1:.3f}", text, *pictures)


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
    """Draw a missed cell and the predictions around it, or an invented one and the truth."""
    result = given.results[place]
    truth, truth_rles, found, found_rles = _take_masks(result, given.image_names[place])
    own, rles, others = (truth, truth_rles, found) if missed else (found, found_rles, truth)
    around = found_rles if missed else truth_rles
    window = choose_window(own.boxes_xyxy[index].tolist(), result.height, result.width)
    near = touches_window(others.boxes_xyxy, window)
    near &= found.scores >= score_thr if missed else ~truth.ignored
    colour = colour_of(int(own.labels[index]), given.palette or DEFAULT_PALETTE)
    shown = [around[k] for k in np.flatnonzero(near).tolist()]
    return draw_crop(image, window, rles[index], colour, shown)


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
    truth, _, found, _ = _take_masks(given.results[place], image_name)
    own: GroundTruth | Predictions = truth if missed else found
    label = int(own.labels[index])
    x, y = ((own.boxes_xyxy[index, :2] + own.boxes_xyxy[index, 2:]) / 2).round().astype(int)
    details = [f"{measure_diameters(own.areas[[index]])[0]:.0f} px across"]
    if not missed:
        details.insert(0, f"score {found.scores[index]:.2f}")
    name = given.class_names[label]
    word = "Missed" if missed else "Invented"
    alt = f"{word} {name} in image {image_name} at x {x}, y {y}: {', '.join(details)}."
    return CellCrop(encode_picture(drawn, alt, max_bytes), name, ink_of(label), image_name, details)


def _take_masks(
    result: ImageResult, name: str
) -> tuple[GroundTruth, list[RLE], Predictions, list[RLE]]:
    """Return both sides of a result with their masks."""
    truth, found = result.ground_truth, result.predictions
    if truth is None or truth.rles is None or found.rles is None:
        raise CellsegError(f"Image {name} came without masks to draw; give the .segm.json.")
    return truth, truth.rles, found, found.rles
