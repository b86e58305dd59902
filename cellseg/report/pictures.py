"""Draw the report's pictures: whole images with outlines, and crops of single cells, as data URIs.

Everything here is RGB. A picture is encoded as JPEG no larger than it is told to be, so that a page
of dense images can still be sent by mail.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cellseg.palette import Color, color_of
from cellseg.structures.runs import Crop
from cellseg.visualization.overlays import (
    FRACTION_BITS,
    draw_outlines,
    find_outlines,
    to_fixed_point,
)
from cellseg.visualization.panels import resize_for_display

SMALL_PX, LARGE_PX = 720, 960
CROP_PX = 176
_QUALITIES = (86, 78, 70, 60, 50)
_FILL_STRENGTH = 0.55
_PAPER = 128


@dataclass(frozen=True)
class Picture:
    """A picture in the page.

    Attributes:
        uri: `data:image/jpeg;base64,...`.
        alt: What it shows, for those who do not see it.
        width: In pixels.
        height: In pixels.
    """

    uri: str
    alt: str
    width: int
    height: int


def encode_picture(image: NDArray[np.uint8], alt: str, max_bytes: int) -> Picture:
    """Encode a picture, coarser or at last smaller until it fits.

    Args:
        image: (H, W, 3) uint8 RGB.
        alt: What it shows.
        max_bytes: Size of the JPEG that must not be exceeded while it has 64 px a side.

    Returns:
        The picture.
    """
    height, width = image.shape[:2]
    for quality in _QUALITIES:
        data = _to_jpeg(image, quality)
        if len(data) <= max_bytes:
            break
    while len(data) > max_bytes and min(image.shape[:2]) > 64:
        size = (max(int(image.shape[1] * 0.8), 1), max(int(image.shape[0] * 0.8), 1))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        data = _to_jpeg(image, _QUALITIES[2])
    uri = f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
    return Picture(uri, alt, width, height)


def draw_panel(
    image: NDArray[np.uint8],
    crops: Sequence[Crop],
    labels: NDArray[np.integer],
    filled: NDArray[np.bool_],
    palette: Sequence[Color],
) -> NDArray[np.uint8]:
    """Draw the outlines of cells on a whole image, and fill those that stand out.

    Args:
        image: (H, W, 3) uint8 RGB.
        crops: N masks; N may be 0.
        labels: (N,) classes; -1 for regions to ignore.
        filled: (N,) whether to fill the cell.
        palette: Colors of the classes.

    Returns:
        (h, w, 3) uint8 RGB, its longer side enlarged to SMALL_PX or shrunk to LARGE_PX.
    """
    shown, scale = resize_for_display(image, SMALL_PX, LARGE_PX)
    paint = np.ascontiguousarray(shown).copy()
    for index in np.flatnonzero(filled).tolist():
        outlines = find_outlines(*crops[index])
        if outlines:
            color = color_of(int(labels[index]), palette)
            points = [to_fixed_point(outline, scale) for outline in outlines]
            cv2.fillPoly(paint, points, color, cv2.LINE_AA, FRACTION_BITS)
    blended = cv2.addWeighted(paint, _FILL_STRENGTH, shown, 1 - _FILL_STRENGTH, 0)
    return draw_outlines(blended, crops, labels, palette, None, scale, 2 if scale > 1.4 else 1)


def choose_window(
    box_xyxy: Sequence[float], height: int, width: int, least_px: int = 40
) -> tuple[int, int, int]:
    """Choose the square around a cell that its crop shows.

    Args:
        box_xyxy: The cell's box in pixels.
        height: Image height.
        width: Image width.
        least_px: Smallest side of the square.

    Returns:
        Left, top and side in pixels. The square stays inside the image where the image is large
        enough.
    """
    x1, y1, x2, y2 = box_xyxy
    side = int(max(2.2 * max(x2 - x1, y2 - y1), least_px))
    corner = [
        int(np.clip(round((low + high - side) / 2), 0, max(length - side, 0)))
        for low, high, length in ((x1, x2, width), (y1, y2, height))
    ]
    return corner[0], corner[1], side


def draw_crop(
    image: NDArray[np.uint8],
    window: tuple[int, int, int],
    cell: Crop,
    color: Color,
    others: Sequence[Crop],
) -> NDArray[np.uint8]:
    """Draw one cell in its surroundings.

    Args:
        image: (H, W, 3) uint8 RGB.
        window: Left, top and side of the square to show, in pixels.
        cell: The cell, outlined in its color.
        color: Its color.
        others: Masks outlined in thin white on black: what the other side has in this place.

    Returns:
        (CROP_PX, CROP_PX, 3) uint8 RGB; grey beyond the image.
    """
    left, top, side = window
    piece = image[top : top + side, left : left + side]
    square = np.full((side, side, 3), _PAPER, dtype=np.uint8)
    square[: piece.shape[0], : piece.shape[1]] = piece
    scale = CROP_PX / side
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    shown = cv2.resize(square, (CROP_PX, CROP_PX), interpolation=method)
    for crops, strokes in ((others, (((20, 16, 30), 3), ((255, 255, 255), 1))), ([cell], ())):
        points = [
            to_fixed_point(outline, scale)
            for crop, x0, y0 in crops
            for outline in find_outlines(crop, x0 - left, y0 - top)
        ]
        for stroke, thickness in strokes or (((20, 16, 30), 5), (color, 3)):
            cv2.polylines(shown, points, True, stroke, thickness, cv2.LINE_AA, FRACTION_BITS)
    return shown


def touches_window(
    boxes_xyxy: NDArray[np.floating], window: tuple[int, int, int]
) -> NDArray[np.bool_]:
    """Return which boxes (N, 4) reach into a window, as (N,) bool; N may be 0."""
    left, top, side = window
    x1, y1, x2, y2 = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4).T
    return (x2 > left) & (x1 < left + side) & (y2 > top) & (y1 < top + side)


def _to_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Encode with colors at full resolution, or thin colored lines turn grey."""
    settings = (
        *(cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    )
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)[1].tobytes()
