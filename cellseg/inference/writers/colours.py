"""One colour a class, the data set's own, in every output."""

from __future__ import annotations

import colorsys

from cellseg.datasets.cell_dataset import CellDataset


def class_colours(num_classes: int) -> list[tuple[int, int, int]]:
    """Choose a colour for each class as red, green, blue in 0 to 255."""
    colours = [tuple(colour) for colour in CellDataset.METAINFO["palette"][:num_classes]]
    for index in range(len(colours), num_classes):
        red, green, blue = colorsys.hsv_to_rgb(index * 0.618 % 1, 0.65, 0.9)
        colours.append((round(red * 255), round(green * 255), round(blue * 255)))
    return colours
