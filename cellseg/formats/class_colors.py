"""One colour a class, the data set's own, in every output."""

from __future__ import annotations

import colorsys
from typing import Any

from cellseg.datasets.cell_dataset import CellDataset


def class_colours(num_classes: int) -> list[tuple[int, int, int]]:
    """Choose a colour for each class as red, green, blue in 0 to 255."""
    palette: Any = CellDataset.METAINFO["palette"]
    colours = [(int(red), int(green), int(blue)) for red, green, blue in palette[:num_classes]]
    for index in range(len(colours), num_classes):
        wheel = colorsys.hsv_to_rgb(index * 0.618 % 1, 0.65, 0.9)
        colours.append((round(wheel[0] * 255), round(wheel[1] * 255), round(wheel[2] * 255)))
    return colours
