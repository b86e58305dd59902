"""The colors of classes: the config's own where it has some, the same in every output."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any, TypeAlias

Color: TypeAlias = tuple[int, int, int]

DEFAULT_PALETTE: tuple[Color, ...] = (
    (0, 245, 150),
    (255, 245, 25),
    (40, 110, 255),
    (230, 40, 0),
)
"""Colors that no stain has, apart from each other for the color-blind as well."""
FURTHER_COLORS: tuple[Color, ...] = (
    (255, 31, 159),
    (255, 127, 255),
    (31, 159, 95),
    (159, 223, 95),
)
"""For a fifth to eighth class; they differ from the first four, from each other and from H&E."""

IGNORED_COLOR: Color = (128, 128, 128)


def choose_palette(num_classes: int, own: Sequence[Sequence[Any]] | None = None) -> list[Color]:
    """Choose a color for each class.

    Args:
        num_classes: How many classes there are.
        own: Colors (R, G, B) that a config gives, used again from the start if there are more
            classes; None or empty if it gives none.

    Returns:
        num_classes colors (R, G, B) in 0 to 255: the config's own, else DEFAULT_PALETTE and
        FURTHER_COLORS, or evenly spaced hues, which the color-blind cannot all tell apart, if there
        are more classes than these.
    """
    if own:
        return [color_of(label, own) for label in range(num_classes)]
    known = (*DEFAULT_PALETTE, *FURTHER_COLORS)
    if num_classes <= len(known):
        return list(known[:num_classes])
    hues = (index / num_classes for index in range(num_classes))
    colors = (colorsys.hsv_to_rgb(hue, 0.85, 0.9) for hue in hues)
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colors]


def color_of(label: int, palette: Sequence[Sequence[Any]]) -> Color:
    """Return a class's color; gray for a negative label, a region that belongs to no class."""
    if label < 0:
        return IGNORED_COLOR
    red, green, blue, *_ = palette[label % len(palette)]
    return int(red), int(green), int(blue)
