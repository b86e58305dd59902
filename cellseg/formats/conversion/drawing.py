"""Draw polygons, run-length encodings and label maps as crops of masks.

Coordinates are those of QuPath, COCO and this project's writers: pixel i covers i to i + 1, and a
pixel belongs to a polygon if its center does. Filling an outline along pixel edges thus gives back
exactly the pixels it was drawn around, and polygons that share an edge share no pixel. (cv2 and
PIL paint the outline as well, pycocotools knows no holes, shapely none that cross themselves.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cellseg.formats.conversion.annotations import (
    Annotation,
    Drawing,
    UnusableAnnotationError,
)
from cellseg.structures.rle import read_lengths
from cellseg.structures.runs import Crop, Runs, draw_columns, join_touching, measure_runs

NO_PIXEL = "covers no pixel"
_FURTHEST_PX = 1e9
_BLOCK = 2**22  # pixels, and crossings of outline and pixel rows, that are handled at once
_EDGE_MARGIN_PX = 0.5

Ring = Sequence[Sequence[float]]


def draw_polygons(polygons: Sequence[Sequence[Ring]], height: int, width: int) -> Drawing:
    """Draw one annotation of one or several polygons.

    Args:
        polygons: Polygons, each an exterior ring and its holes; a ring is a list of x, y positions
            (further numbers are not read), closed or not. Where a ring crosses itself, all
            that it winds around is inside.
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        The union of the polygons, cut at the image's edges.

    Raises:
        UnusableAnnotationError: If no pixel is inside, or the positions are no numbers.
    """
    pieces, changes = _read_polygons(polygons)
    corners = np.concatenate([rings[0] for rings in pieces]) if len(pieces) > 1 else pieces[0][0]
    frame = find_frame(corners, height, width)
    mask = np.zeros((frame.height, frame.width), dtype=bool)
    for rings in pieces:
        exterior, *holes = (ring - (frame.x0, frame.y0) for ring in rings)
        inside = fill_ring(exterior, *mask.shape)
        for hole in holes:
            inside &= ~fill_ring(hole, *mask.shape)
        mask |= inside
    return Drawing(trim(mask, frame.x0, frame.y0), (*changes, *frame.changes))


class Frame(NamedTuple):
    """The part of an image, in pixels, that a shape can lie in, and whether it was cut for it."""

    height: int
    width: int
    x0: int
    y0: int
    changes: tuple[str, ...]


def find_frame(corners: NDArray[np.float64], height: int, width: int) -> Frame:
    """Find the part of an image of so many pixels that a shape with corners (K, 2) lies in.

    Raises:
        UnusableAnnotationError: If it lies outside.
    """
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    x1, y1 = min(max(math.floor(left), 0), width), min(max(math.floor(top), 0), height)
    x2, y2 = min(max(math.ceil(right), 0), width), min(max(math.ceil(bottom), 0), height)
    rows, columns = max(y2 - y1, 0), max(x2 - x1, 0)
    if not rows * columns and right > left and bottom > top:
        raise UnusableAnnotationError("lies outside the image")
    is_cut = min(left, top) < -_EDGE_MARGIN_PX
    is_cut |= max(right - width, bottom - height) > _EDGE_MARGIN_PX
    return Frame(rows, columns, x1, y1, ("cut at the image's edge",) if is_cut else ())


def fill_ring(ring: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """Fill a ring: pixels whose centers it winds around.

    Each edge adds its direction to the first pixel right of where it crosses a row of pixel
    centers; the sums along the rows are the winding numbers. Cost grows with area plus outline.

    Args:
        ring: (K, 2) x, y in pixels, the first position not repeated; may leave the frame.
        height: Height of the frame in pixels.
        width: Width of the frame in pixels.

    Returns:
        (height, width) bool.
    """
    rows_at_once = max(_BLOCK // max(width, 1), 1)
    if height <= rows_at_once:
        return _wind(ring, height, width)
    mask = np.zeros((height, width), dtype=bool)
    for top in range(0, height, rows_at_once):
        bottom = min(top + rows_at_once, height)
        mask[top:bottom] = _wind(ring - (0, top), bottom - top, width)
    return mask


def draw_rle(segmentation: dict[str, Any], height: int, width: int) -> Drawing:
    """Draw a COCO run-length encoding, compressed (text) or not (a list of numbers).

    Args:
        segmentation: `size` [height, width] and `counts`.
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        The mask, exactly.

    Raises:
        UnusableAnnotationError: If it is damaged, of another size or empty.
    """
    if segmentation.get("size") != [height, width]:
        raise UnusableAnnotationError("mask is not of the image's size")
    runs = _read_runs(segmentation.get("counts"), height * width)
    boxes, areas = measure_runs(runs, 1, height)
    if not areas[0]:
        raise UnusableAnnotationError(NO_PIXEL)
    x1, y1, x2, y2 = boxes[0].tolist()
    mask = draw_columns(runs, boxes, height).reshape(x2 - x1, y2 - y1).T
    return Drawing(Crop(np.ascontiguousarray(mask), x1, y1))


def list_labels(label_map: NDArray[Any], class_name: str) -> Iterator[Annotation]:
    """List the cells of a label map.

    Args:
        label_map: (H, W) integer; 0 is background, each positive value one cell.
        class_name: The class of all of them.

    Yields:
        An annotation a cell, ids ascending.
    """
    ids, compact = np.unique(label_map, return_inverse=True)
    first = 0 if len(ids) and ids[0] == 0 else 1
    numbers = compact.reshape(label_map.shape).astype(np.int32) + first
    names = ids.tolist() if first == 0 else [0, *ids.tolist()]
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        draw = partial(_draw_label, numbers, number, box)
        yield Annotation(f"label {names[number]}", class_name, draw)


def _draw_label(
    numbers: NDArray[np.int32], number: int, box: tuple[slice, slice], height: int, width: int
) -> Drawing:
    """Cut one cell out of a label map."""
    rows, columns = box
    return Drawing(Crop(numbers[box] == number, columns.start, rows.start))


def _read_polygons(
    polygons: Sequence[Sequence[Ring]],
) -> tuple[list[list[NDArray[np.float64]]], list[str]]:
    """Read polygons, each an exterior ring and its holes, and what of them cannot be drawn."""
    changes: list[str] = []
    pieces = []
    for polygon in polygons:
        rings = [read_ring(ring) for ring in polygon]
        if not rings or len(rings[0]) < 3:
            changes.append("a piece with fewer than 3 points left out")
            continue
        holes = [ring for ring in rings[1:] if len(ring) >= 3]
        if len(holes) < len(rings) - 1:
            changes.append("a hole with fewer than 3 points left out")
        pieces.append([rings[0], *holes])
    if not pieces:
        raise UnusableAnnotationError("fewer than 3 points")
    return pieces, changes


def read_ring(ring: Ring) -> NDArray[np.float64]:
    """Read a ring as (K, 2) without a repeated last position; UnusableAnnotationError if none."""
    try:
        points = np.array([(position[0], position[1]) for position in ring], dtype=np.float64)
    except (TypeError, ValueError, IndexError, KeyError, OverflowError) as error:
        raise UnusableAnnotationError("outline must be a list of x, y positions") from error
    points = points.reshape(-1, 2)
    if not (np.abs(points) < _FURTHEST_PX).all():
        raise UnusableAnnotationError("coordinates are not finite, or absurdly large")
    if len(points) > 1 and (points[0] == points[-1]).all():
        points = points[:-1]
    return points


def _wind(ring: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """Return which pixel centers (height, width) a ring winds around."""
    steps: NDArray[np.floating] | float = 0.0
    num_places = height * (width + 1)
    ahead = np.concatenate((ring[1:], ring[:1]))
    starts = np.minimum(np.maximum(np.ceil(ring[:, 1] - 0.5), 0), height).astype(np.int64)
    stops = np.concatenate((starts[1:], starts[:1]))
    crossing = np.flatnonzero(starts != stops)
    edges_at_once = max(_BLOCK // max(height, 1), 1)
    for begin in range(0, len(crossing), edges_at_once):
        edges = crossing[begin : begin + edges_at_once]
        first = np.minimum(starts[edges], stops[edges])
        spans = np.abs(stops[edges] - starts[edges])
        edge = np.repeat(edges, spans)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(spans) - spans - first, spans)
        (x1, y1), (x2, y2) = ring[edge].T, ahead[edge].T
        x = x1 + (row + 0.5 - y1) * ((x2 - x1) / (y2 - y1))
        column = np.minimum(np.maximum(np.ceil(x - 0.5), 0), width).astype(np.int64)
        signs = np.where(y2 > y1, 1.0, -1.0)
        steps += np.bincount(row * (width + 1) + column, weights=signs, minlength=num_places)
    if isinstance(steps, float):
        return np.zeros((height, width), dtype=bool)
    # Whole numbers, which float64 adds exactly.
    return np.cumsum(steps.reshape(height, width + 1)[:, :-1], axis=1) != 0


def _read_runs(counts: Any, num_pixels: int) -> Runs:
    """Read the foreground runs of COCO counts, and check that they fit the image."""
    damaged = UnusableAnnotationError("run-length encoding is damaged")
    try:
        lengths = read_lengths(counts) if isinstance(counts, str) else np.array(counts)
    except (ValueError, TypeError) as error:
        raise damaged from error
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths):
        raise damaged
    if lengths.min() < 0 or lengths.max() > num_pixels:
        raise damaged
    stops = np.cumsum(lengths.astype(np.int64))
    if stops[-1] != num_pixels:
        raise damaged
    starts, ends = stops[:-1:2], stops[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts]
    return join_touching(Runs(np.zeros_like(starts), starts, ends))


def trim(mask: NDArray[np.bool_], x0: int, y0: int) -> Crop:
    """Cut a mask to its tight box; raise UnusableAnnotationError where no pixel is set."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise UnusableAnnotationError(NO_PIXEL)
    top, left = int(rows[0]), int(columns[0])
    tight = mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    return Crop(np.ascontiguousarray(tight), x0 + left, y0 + top)
