"""A picture of cells for a person: outlines on the image, a legend, and a scale bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from cellseg.palette import IGNORED_COLOR, Color, choose_palette, color_of
from cellseg.structures.cells import Cells
from cellseg.visualization.overlays import draw_boxes, draw_outlines
from cellseg.visualization.panels import CaptionEntry, draw_caption, resize_for_display

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EMPTY = 24  # gray level of the background where there is no image
_BAR_SHARE = 0.2  # of the picture's width, at most
_BAR_PX, _MARGIN_PX = 4, 10
_STEPS = (1, 2, 5)


def draw_cells(
    cells: Cells,
    image: NDArray[np.uint8] | None = None,
    palette: Sequence[Color] = (),
    min_side_px: int = 0,
    max_side_px: int | None = None,
) -> NDArray[np.uint8]:
    """Draw cells on their image, with a legend below.

    Args:
        cells: Cells of one image; may be empty.
        image: (H, W, 3) uint8 RGB or (H, W) uint8; a dark background when None.
        palette: One color per class; the default ones when empty.
        min_side_px: Enlarge until the longer side has this many pixels, at most 4 times.
        max_side_px: Shrink until the longer side has at most this many pixels.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ValueError: If the image is not of the cells' size.
    """
    if image is None:
        image = np.full((cells.height, cells.width, 3), _EMPTY, dtype=np.uint8)
    if image.shape[:2] != (cells.height, cells.width):
        raise ValueError(
            f"The image is {image.shape[0]} x {image.shape[1]} pixels, but the cells are of one of "
            f"{cells.height} x {cells.width}; give the image that they were found in."
        )
    if image.ndim == 2:
        image = np.stack([image] * 3, axis=2)
    shown, scale = resize_for_display(image, min_side_px, max_side_px)
    colors = choose_palette(
        max(len(cells.class_names), int(cells.labels.max(initial=0)) + 1), palette
    )
    if cells.masks is None:
        drawn = draw_boxes(shown, cells.boxes, cells.labels, colors, scale)
    else:
        drawn = draw_outlines(shown, cells.crops(), cells.labels, colors, scale=scale)
    return add_legend(drawn, cells, colors, scale)


def add_legend(
    drawn: NDArray[np.uint8], cells: Cells, palette: Sequence[Color], scale: float = 1.0
) -> NDArray[np.uint8]:
    """Add a strip below a picture: how many cells of each class, and a scale bar.

    Args:
        drawn: (h, w, 3) uint8 RGB.
        cells: The cells in it; the bar needs their pixel size.
        palette: One color per class.
        scale: Size of the picture in units of the cells' pixels.

    Returns:
        (h + strip, w, 3) uint8 RGB.
    """
    entries = list_counts(cells, palette)
    strip = draw_caption(f"{len(cells):,} cells", entries, drawn.shape[1])
    parts = [drawn, strip]
    if cells.pixel_size_um is not None:
        parts.append(_draw_bar(drawn.shape[1], cells.pixel_size_um / scale))
    return np.concatenate(parts, axis=0)


def list_counts(cells: Cells, palette: Sequence[Color]) -> list[CaptionEntry]:
    """Say how many cells of each class there are; gray stands for regions to ignore."""
    labels = cells.labels.tolist()
    entries = []
    for label in sorted({*range(len(cells.class_names)), *labels}, key=lambda k: (k < 0, k)):
        name = cells.class_names[label] if 0 <= label < len(cells.class_names) else f"class {label}"
        name = "ignored" if label < 0 else name
        color = IGNORED_COLOR if label < 0 else color_of(label, palette)
        entries.append(CaptionEntry(f"{name}: {labels.count(label):,}", color))
    return entries


def choose_bar(width_px: int, pixel_size_um: float) -> tuple[float, int]:
    """Choose a round length for a scale bar.

    Args:
        width_px: Width of the picture.
        pixel_size_um: Side of one of its pixels in micrometers.

    Returns:
        Length in micrometers, and in pixels of the picture.
    """
    most = width_px * _BAR_SHARE * pixel_size_um
    power = 10.0 ** math.floor(math.log10(most))
    length = max(step * power for step in _STEPS if step * power <= most)
    return length, max(round(length / pixel_size_um), 1)


def plot_cells(
    cells: Cells,
    image: NDArray[np.uint8] | None = None,
    axes: Axes | None = None,
    palette: Sequence[Color] = (),
) -> Axes:
    """Show the picture of `draw_cells` in matplotlib.

    Args:
        cells: Cells of one image.
        image: The image, as for `draw_cells`.
        axes: Where to draw; axes of a new figure when None.
        palette: One color per class.

    Returns:
        The axes.
    """
    picture = draw_cells(cells, image, palette, min_side_px=768, max_side_px=2048)
    if axes is None:
        from matplotlib import pyplot as plt

        height, width = picture.shape[:2]
        _, axes = plt.subplots(figsize=(8, 8 * height / width), layout="constrained")
    axes.imshow(picture, interpolation="antialiased")
    axes.set_axis_off()
    return axes


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Encode an RGB picture (h, w, 3) as PNG."""
    return bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())


def _draw_bar(width_px: int, pixel_size_um: float) -> NDArray[np.uint8]:
    """Draw a strip with a scale bar and its length."""
    length, bar_px = choose_bar(width_px, pixel_size_um)
    strip = draw_caption(f"{length:g} um", (), width_px)
    height = strip.shape[0]
    strip = np.pad(strip, ((_MARGIN_PX, 0), (0, 0), (0, 0)), constant_values=255)
    strip = strip[: height + _BAR_PX + 2]
    strip[_BAR_PX : 2 * _BAR_PX, _MARGIN_PX : _MARGIN_PX + bar_px] = 0
    return strip
