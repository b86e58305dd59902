"""Draw the outlines of many cells on an image, fast.

A cell is traced in the crop of its box only, and all outlines of a class are drawn in one call.
Everything here is RGB.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cellseg.palette import DEFAULT_PALETTE, Color, color_of
from cellseg.structures.runs import Crop

_DIAMETERS_PER_LINE = 12
FRACTION_BITS = 4  # OpenCV's fixed-point coordinates: 1/16 px


def find_outlines(crop: NDArray[np.bool_], x0: int, y0: int) -> list[NDArray[np.int32]]:
    """Find the outlines of one mask: those of its pieces and of the holes in them.

    Args:
        crop: (h, w) bool, the crop of the mask; may be empty.
        x0: Image column of the crop's first column, in pixels.
        y0: Image row of the crop's first row, in pixels.

    Returns:
        Closed outlines, each (P, 2) as x, y of pixels of the mask in image coordinates.
    """
    if not crop.size:
        return []
    found = cv2.findContours(
        crop.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE, offset=(x0, y0)
    )
    return [contour.reshape(-1, 2) for contour in found[0]]


def draw_outlines(
    image: NDArray[np.uint8],
    crops: Sequence[Crop],
    labels: ArrayLike,
    palette: Sequence[Color] = DEFAULT_PALETTE,
    scores: ArrayLike | None = None,
    scale: float = 1.0,
    line_width: int | None = None,
) -> NDArray[np.uint8]:
    """Draw the outline of every cell in the color of its class.

    Args:
        image: (h, w, 3) uint8 RGB; not changed.
        crops: N masks in original coordinates, from `Cells.crops`.
        labels: (N,) class indices; a negative one is drawn grey, as a region to ignore.
        palette: Colors of the classes, used again from the start if there are more classes.
        scores: (N,) scores to write beside the cells; None writes none, which dense images need.
        scale: Size of `image` in units of the masks' size, where it was resized for display.
        line_width: In pixels of `image`; chosen by its size and that of the cells when None.

    Returns:
        (h, w, 3) uint8 RGB, a drawn copy.
    """
    canvas = np.ascontiguousarray(image).copy()
    if line_width is None:
        areas = [np.count_nonzero(crop[0]) for crop in crops]
        diameter = scale * float(np.sqrt(np.median(areas))) if areas else math.inf
        line_width = choose_line_width(canvas.shape[0], canvas.shape[1], scale, diameter)
    outlines: dict[int, list[NDArray[np.int32]]] = {}
    corners = []
    for label, (crop, x0, y0) in zip(np.asarray(labels).tolist(), crops, strict=True):
        outlines.setdefault(int(label), []).extend(find_outlines(crop, x0, y0))
        corners.append((x0, y0))
    for label in sorted(outlines, reverse=True):
        points = [to_fixed_point(outline, scale) for outline in outlines[label]]
        cv2.polylines(
            canvas,
            points,
            isClosed=True,
            color=color_of(label, palette),
            thickness=line_width,
            # Anti-aliasing smears lines of one pixel over three and loses one-pixel cells.
            lineType=cv2.LINE_AA if line_width > 1 else cv2.LINE_8,
            shift=FRACTION_BITS,
        )
    if scores is not None:
        _write_scores(canvas, np.asarray(corners).reshape(-1, 2) * scale, scores)
    return canvas


def draw_boxes(
    image: NDArray[np.uint8],
    boxes_xyxy: NDArray[np.floating],
    labels: ArrayLike,
    palette: Sequence[Color] = DEFAULT_PALETTE,
    scale: float = 1.0,
) -> NDArray[np.uint8]:
    """Draw boxes in the colors of their classes, for cells without masks.

    Args:
        image: (h, w, 3) uint8 RGB; not changed.
        boxes_xyxy: (N, 4) in original pixels; N may be 0.
        labels: (N,) class indices; see `draw_outlines`.
        palette: Colors of the classes.
        scale: Size of `image` in units of the boxes' frame.

    Returns:
        (h, w, 3) uint8 RGB, a drawn copy.
    """
    canvas = np.ascontiguousarray(image).copy()
    width = choose_line_width(canvas.shape[0], canvas.shape[1], scale)
    corners = np.rint(np.asarray(boxes_xyxy).reshape(-1, 4) * scale).astype(int).tolist()
    for (x1, y1, x2, y2), label in zip(corners, np.asarray(labels).tolist(), strict=True):
        color = color_of(int(label), palette)
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), color, width)
    return canvas


def choose_line_width(
    height: int, width: int, scale: float = 1.0, diameter_px: float = math.inf
) -> int:
    """Choose the width of outlines: 1 to 3 px, wider on vast images and on enlarged ones.

    Args:
        height: Of the displayed image in pixels.
        width: Of the displayed image in pixels.
        scale: Its size in units of the cells' pixels.
        diameter_px: Median diameter of the cells as displayed: lines take a twelfth at most, so
            that small cells are not painted over.

    Returns:
        The width in pixels.
    """
    wanted = max(min(height, width) / 700, scale)
    return int(np.clip(round(min(wanted, diameter_px / _DIAMETERS_PER_LINE)), 1, 3))


def to_fixed_point(outline: NDArray[np.int32], scale: float) -> NDArray[np.int32]:
    """Map pixel centers of the original to the displayed image, in OpenCV's fixed point."""
    displayed = (outline + 0.5) * scale - 0.5
    return np.rint(displayed * (1 << FRACTION_BITS)).astype(np.int32)


def _write_scores(
    canvas: NDArray[np.uint8], corners: NDArray[np.floating], scores: ArrayLike
) -> None:
    """Write each score above its cell, light on dark."""
    for (x, y), score in zip(corners.tolist(), np.asarray(scores).tolist(), strict=True):
        place = (int(x), max(int(y) - 2, 9))
        for color, thickness in (((0, 0, 0), 2), ((255, 255, 255), 1)):
            cv2.putText(
                canvas,
                f"{score:.2f}",
                place,
                cv2.FONT_HERSHEY_SIMPLEX,
                0.32,
                color,
                thickness,
                cv2.LINE_AA,
            )
