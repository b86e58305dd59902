"""What a person can do to cells: each call checks its values and makes the step of a log.

Points are x, y in pixels of the image; pixel i covers i to i + 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cellseg.errors import CellsegError
from cellseg.formats.conversion.annotations import UnusableAnnotationError
from cellseg.formats.conversion.drawing import draw_polygons
from cellseg.structures.runs import Crop
from cellseg.web.edit_log import EditLog, EditStep, Outline, PageCell
from cellseg.web.rings import Rings, decode_rings, encode_crop_rings

MOST_POINTS = 20_000
MOST_KEYS = 100_000
MOST_REGIONS = 200
_LARGEST_CELL_PX = 2**24
_LARGEST_BRUSH_PX = 500.0
_FURTHEST_PX = 1e7
_FEWEST_PX = 3  # what a brush or knife leaves of fewer pixels is dropped
_CLOSING_PX = 25  # merged cells are joined across gaps up to this


class EditError(CellsegError):
    """Say why an edit cannot be made."""


class Canvas(NamedTuple):
    """The image that is edited: width and height in pixels, and how many classes there are."""

    width: int
    height: int
    num_classes: int


def make_step(log: EditLog, canvas: Canvas, action: Mapping[str, Any]) -> EditStep:
    """Turn what a page asks for into a step.

    Args:
        log: The cells as they are.
        canvas: The image.
        action: `do`, one of delete, class, draw, redraw, brush, split, merge, review, unreview, and
            what that takes.

    Returns:
        The step, to be applied.

    Raises:
        EditError: If a value is missing, of another kind, or impossible.
    """
    kind = action.get("do")
    if not isinstance(kind, str) or kind not in _ACTIONS:
        raise EditError("There is no such edit.")
    return _ACTIONS[kind](log, canvas, action)


def read_points(value: Any, canvas: Canvas, least: int = 3) -> NDArray[np.float64]:
    """Read points (N, 2) that a page sends, near or inside the image."""
    is_list = isinstance(value, list) and least <= len(value) <= MOST_POINTS
    if not is_list or not all(isinstance(p, list) and len(p) == 2 for p in value):
        raise EditError(f"An outline must be a list of {least} to {MOST_POINTS:,} points.")
    for number in (number for point in value for number in point):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise EditError("A point must be two numbers.")
        if not abs(number) <= _FURTHEST_PX:  # false for NaN, too; no float holds a huge integer
            raise EditError("A point must be two finite numbers.")
    points = np.array(value, dtype=np.float64)
    return points.clip((-1.0, -1.0), (canvas.width + 1.0, canvas.height + 1.0))


def _delete(log: EditLog, canvas: Canvas, action: Mapping[str, Any]) -> EditStep:
    """Take cells away."""
    return EditStep("delete", removed=_find_cells(log, action))


def _set_class(log: EditLog, canvas: Canvas, action: Mapping[str, Any]) -> EditStep:
    """Give cells another class."""
    cells = _find_cells(log, action)
    label = _read_label(action, canvas)
    added = log.new_cells([c.rings for c in cells], [label] * len(cells), [None] * len(cells))
    return EditStep("change class", cells, added)


def _draw(log: EditLog, canvas: Canvas, action: Mapping[str, Any]) -> EditStep:
    """Add a cell with an outline."""
    rings = encode_crop_rings(_draw_outline(action.get("points"), canvas))
    return EditStep("draw", added=log.new_cells([rings], [_read_label(action, canvas)], [None]))


def _redraw(log: EditLog, canvas: Canvas, action: Mapping[str, Any]) -> EditStep:
    """Give a cell another outline."""
    cell = _find_cells(log, action, most=1)[0]
    rings = encode_crop_rings(_draw_outline(action.get("points"), canvas))
    return EditStep("redraw", (cell,), log.new_cells([rings], [cell.label], [None]))


def _brush(log: EditLog, canvas: Canvas, action: Mapping[str, Any]) -> EditStep:
    """Add to a cell, or take away from it, what a round brush touches; without a cell, draw one."""
    points = read_points(action.get("points"), canvas, least=1)
    radius = action.get("radius")
    is_number = isinstance(radius, int | float) and not isinstance(radius, bool)
    if not is_number or not 0.5 <= (radius or 0) <= _LARGEST_BRUSH_PX:
        raise EditError(f"The brush must have 0.5 to {_LARGEST_BRUSH_PX:g} pixels.")
    stroke = _paint_stroke(points, float(radius or 0), canvas)
    if not action.get("keys"):
        rings = encode_crop_rings(stroke)
        return EditStep(
            "brush", added=log.new_cells([rings], [_read_label(action, canvas)], [None])
        )
    cell = _find_cells(log, action, most=1)[0]
    erase = action.get("erase") is True
    mask, x0, y0 = _combine([decode_rings(cell.rings), stroke])
    own, other = mask
    changed = own & ~other if erase else own | other
    outline = _outline(changed, x0, y0)
    if outline is None:
        return EditStep("erase", removed=(cell,))
    return EditStep(
        "erase" if erase else "brush", (cell,), log.new_cells([outline], [cell.label], [None])
    )


def _split(log: EditLog, canvas: Canvas, action: Mapping[str, Any]) -> EditStep:
    """Cut one cell, or all those named, along a line."""
    points = read_points(action.get("points"), canvas, least=2)
    removed, rings, labels = [], [], []
    for cell in _find_cells(log, action):
        pieces = _cut(decode_rings(cell.rings), points)
        if len(pieces) > 1:
            removed.append(cell)
            rings += pieces
            labels += [cell.label] * len(pieces)
    if not removed:
        raise EditError("The line does not cut the cell in two; draw it from edge to edge.")
    return EditStep("split", tuple(removed), log.new_cells(rings, labels, [None] * len(rings)))


def _merge(log: EditLog, canvas: Canvas, action: Mapping[str, Any]) -> EditStep:
    """Make one cell of several; gaps between them are closed where they are narrow."""
    cells = _find_cells(log, action)
    if len(cells) < 2:
        raise EditError("Select two or more cells to merge.")
    masks, x0, y0 = _combine([decode_rings(cell.rings) for cell in cells])
    joined = np.logical_or.reduce(masks)
    size = 3
    closed = joined
    while ndimage.label(closed, np.ones((3, 3)))[1] > 1 and size <= _CLOSING_PX:
        padded = np.pad(joined, size).astype(np.uint8)
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disk)[size:-size, size:-size] > 0
        size += 2
    if ndimage.label(closed, np.ones((3, 3)))[1] > 1:
        raise EditError("These cells are too far from each other to be one.")
    largest = max(cells, key=lambda cell: cell.area)
    rings = encode_crop_rings(Crop(closed, x0, y0))
    return EditStep("merge", cells, log.new_cells([rings], [largest.label], [None]))


def _review(log: EditLog, canvas: Canvas, action: Mapping[str, Any]) -> EditStep:
    """Mark a region as reviewed."""
    points = read_points(action.get("points"), canvas)
    points = points.clip((0, 0), (canvas.width, canvas.height)).round(1)
    if len(log.regions) >= MOST_REGIONS:
        raise EditError(f"There are {MOST_REGIONS} reviewed regions already; draw larger ones.")
    low, high = points.min(axis=0), points.max(axis=0)
    if (high - low).min() < 1:
        raise EditError("A reviewed region must have some pixels; drag over a part of the image.")
    outline: Outline = tuple((float(x), float(y)) for x, y in points.tolist())
    return EditStep("review", regions=(log.regions, (*log.regions, outline)))


def _unreview(log: EditLog, canvas: Canvas, action: Mapping[str, Any]) -> EditStep:
    """Remove a reviewed region."""
    number = action.get("region")
    is_number = isinstance(number, int) and not isinstance(number, bool)
    if not is_number or not 0 <= int(number or 0) < len(log.regions):
        raise EditError("There is no such reviewed region.")
    kept = tuple(region for index, region in enumerate(log.regions) if index != number)
    return EditStep("unreview", regions=(log.regions, kept))


_ACTIONS: dict[str, Callable[[EditLog, Canvas, Mapping[str, Any]], EditStep]] = {
    "delete": _delete,
    "class": _set_class,
    "draw": _draw,
    "redraw": _redraw,
    "brush": _brush,
    "split": _split,
    "merge": _merge,
    "review": _review,
    "unreview": _unreview,
}


def _find_cells(
    log: EditLog, action: Mapping[str, Any], most: int = MOST_KEYS
) -> tuple[PageCell, ...]:
    """Find the cells that an action names, each once."""
    keys = action.get("keys")
    if not isinstance(keys, list) or not 1 <= len(keys) <= most:
        raise EditError("Select a cell first." if most > 1 else "Select one cell.")
    if not all(isinstance(key, int) and not isinstance(key, bool) for key in keys):
        raise EditError("A cell is named by its number.")
    cells = [log.cells.get(key) for key in dict.fromkeys(keys)]
    found = tuple(cell for cell in cells if cell is not None)
    if len(found) < len(cells):
        raise EditError("A selected cell is gone; select again.")
    return found


def _read_label(action: Mapping[str, Any], canvas: Canvas) -> int:
    """Read a class."""
    label = action.get("label")
    is_number = isinstance(label, int) and not isinstance(label, bool)
    if not is_number or not 0 <= int(label or 0) < canvas.num_classes:
        raise EditError(f"The class must be a number from 1 to {canvas.num_classes}.")
    return int(label or 0)


def _draw_outline(value: Any, canvas: Canvas) -> Crop:
    """Draw a closed outline that a page sends."""
    points = read_points(value, canvas)
    low, high = points.min(axis=0), points.max(axis=0)
    if np.prod(high - low) > _LARGEST_CELL_PX:
        raise EditError("That outline is too large for a cell.")
    try:
        return draw_polygons([[points.tolist()]], canvas.height, canvas.width).crop
    except UnusableAnnotationError as error:
        raise EditError(f"That outline {error}; draw it around the cell.") from error


def _paint_stroke(points: NDArray[np.float64], radius: float, canvas: Canvas) -> Crop:
    """Paint a line with a round brush; a pixel belongs to it if its center does."""
    low = np.floor(points.min(axis=0) - radius).clip(0, None).astype(int)
    limit = (canvas.width, canvas.height)
    high = np.ceil(points.max(axis=0) + radius).clip(None, limit).astype(int)
    width, height = (high - low).tolist()
    if width < 1 or height < 1:
        raise EditError("The brush lies outside the image.")
    if width * height > _LARGEST_CELL_PX:
        raise EditError("That stroke is too large for a cell.")
    ground = np.ones((height, width), dtype=np.uint8)
    places = np.round((points - low - 0.5) * 16).astype(np.int32)  # pixel centers; 4 bits below
    cv2.polylines(ground, [places.reshape(-1, 1, 2)], False, 0, 1, cv2.LINE_8, 4)
    inside = np.round(points - low - 0.5).astype(int).clip(0, (width - 1, height - 1))
    ground[inside[:, 1], inside[:, 0]] = 0
    distance = cv2.distanceTransform(ground, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return Crop(distance < radius, int(low[0]), int(low[1]))


def _combine(crops: Sequence[Crop]) -> tuple[list[NDArray[np.bool_]], int, int]:
    """Bring crops into one box: their masks there, and its column and row."""
    x0, y0 = min(crop.x0 for crop in crops), min(crop.y0 for crop in crops)
    width = max(crop.x0 + crop.mask.shape[1] for crop in crops) - x0
    height = max(crop.y0 + crop.mask.shape[0] for crop in crops) - y0
    if width * height > _LARGEST_CELL_PX:
        raise EditError("These are too far from each other to be one cell.")
    return [crop.window(x0, y0, x0 + width, y0 + height) for crop in crops], x0, y0


def _cut(crop: Crop, points: NDArray[np.float64]) -> list[Rings]:
    """Cut a mask along a line; its pixels go to the nearest piece, so that none is lost."""
    line = np.ones(crop.mask.shape, dtype=np.uint8)
    # In whole pixels: with fractions of them, OpenCV 5 draws lines that have diagonal gaps.
    places = np.floor(points - (crop.x0, crop.y0)).astype(np.int32)
    cv2.polylines(line, [places.reshape(-1, 1, 2)], False, 0, 1, cv2.LINE_4)
    labels, _ = ndimage.label(crop.mask & (line > 0), np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    if (sizes >= _FEWEST_PX).sum() < 2:
        return []
    labels[np.isin(labels, np.flatnonzero(sizes < _FEWEST_PX))] = 0
    nearest = ndimage.distance_transform_edt(
        labels == 0, return_distances=False, return_indices=True
    )
    labels = np.where(crop.mask, labels[tuple(nearest)], 0)
    numbers: Iterable[int] = np.unique(labels[labels > 0]).tolist()
    return [encode_crop_rings(Crop(labels == number, crop.x0, crop.y0)) for number in numbers]


def _outline(mask: NDArray[np.bool_], x0: int, y0: int) -> Rings | None:
    """Outline a mask without its specks; None where nothing is left."""
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = np.flatnonzero(sizes >= _FEWEST_PX)
    if not len(kept):
        return None
    return encode_crop_rings(Crop(np.isin(labels, kept), x0, y0))
