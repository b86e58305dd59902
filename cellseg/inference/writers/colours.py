"""One colour a class, the same in every output."""

from __future__ import annotations

import colorsys

# Okabe and Ito's colours, told apart by colour-blind readers too; grey and black are left out.
_PALETTE = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
)


def class_colours(num_classes: int) -> list[tuple[int, int, int]]:
    """Choose a colour for each class as red, green, blue in 0 to 255."""
    colours = list(_PALETTE[:num_classes])
    for index in range(len(colours), num_classes):
        red, green, blue = colorsys.hsv_to_rgb(index * 0.618 % 1, 0.65, 0.9)
        colours.append((round(red * 255), round(green * 255), round(blue * 255)))
    return colours
