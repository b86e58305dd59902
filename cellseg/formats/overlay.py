"""Overlay PNG: the image with every cell's outline in the color of its class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cellseg.fileio import write_atomically
from cellseg.images import ImageSource, ResampledSource
from cellseg.palette import Color, choose_palette
from cellseg.structures.cells import Cells
from cellseg.visualization.cell_picture import add_legend
from cellseg.visualization.overlays import draw_outlines

_LARGEST_SIDE = 4096  # a viewer's comfort; larger images are drawn reduced
_BAND_ROWS = 256


def draw_overlay(
    cells: Cells,
    image: ImageSource,
    palette: Sequence[Color] = (),
    largest_side: int = _LARGEST_SIDE,
) -> NDArray[np.uint8]:
    """Draw outlines on an image, reduced if it is larger than a screen can use.

    Args:
        cells: Cells of the image; may be empty.
        image: The image, read band by band.
        palette: One color per class; the default ones when empty.
        largest_side: Longest side of the drawing in pixels.

    Returns:
        (h, w, 3) uint8 R, G, B.
    """
    factor = max(image.height, image.width) / largest_side
    source = ResampledSource(image, factor) if factor > 1 else image
    canvas = np.empty((source.height, source.width, 3), dtype=np.uint8)
    for top in range(0, source.height, _BAND_ROWS):
        rows = min(_BAND_ROWS, source.height - top)
        canvas[top : top + rows] = source.read(0, top, source.width, rows)[..., ::-1]
    colors = choose_palette(len(cells.class_names), palette)
    return draw_outlines(canvas, cells.crops(), cells.labels, colors, scale=1 / max(factor, 1.0))


def write_overlay(
    cells: Cells, path: str | Path, image: ImageSource, palette: Sequence[Color] = ()
) -> dict[str, Any]:
    """Write the drawing of `draw_overlay` as a PNG, with a legend and a scale bar below.

    Args:
        cells: Cells of the image; may be empty.
        path: The file.
        image: The image.
        palette: One color per class; the default ones when empty.

    Returns:
        Nothing to note.
    """
    drawn = draw_overlay(cells, image, palette)
    colors = choose_palette(len(cells.class_names), palette)
    drawn = add_legend(drawn, cells, colors, drawn.shape[1] / image.width)
    _, content = cv2.imencode(".png", drawn[..., ::-1])
    write_atomically(path, content.tobytes())
    return {}
