"""Make colors of classes that can be told from the page they are drawn on."""

from collections.abc import Sequence

from cellseg.palette import Color, choose_palette

SERIES_COLORS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
    *("#e69f00", "#56b4e9", "#000000", "#8c564b"),
)
"""Colors of lines and bars on white that the color-blind can tell apart (Okabe and Ito)."""

_LIGHT_PAPER, _DARK_PAPER = (251, 250, 253), (21, 18, 28)
_LEAST_CONTRAST = 3.0  # of figures against the page, as WCAG 2.1 asks of graphics


def choose_chart_colors(palette: Sequence[Color], num_classes: int) -> list[tuple[str, str, str]]:
    """Choose how each class's color is drawn.

    Args:
        palette: RGB colors of the classes; our own when empty.
        num_classes: How many classes there are.

    Returns:
        For each class the color as it is on images, and variants of it that can be seen on the
        light and on the dark page, as #rrggbb.
    """
    chosen = []
    for color in choose_palette(num_classes, palette):
        light, dark = (_contrast(color, paper) for paper in (_LIGHT_PAPER, _DARK_PAPER))
        chosen.append(tuple(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in (color, light, dark)))
    return chosen  # type: ignore[return-value]


def _contrast(color: Color, paper: Color) -> Color:
    """Darken or lighten a color until it can be told from the paper."""
    target = 0 if _luminance(paper) > 0.5 else 255
    for step in range(21):
        mixed = tuple(round(c + (target - c) * step / 20) for c in color)
        lights = sorted((_luminance(mixed), _luminance(paper)))
        if (lights[1] + 0.05) / (lights[0] + 0.05) >= _LEAST_CONTRAST:
            break
    return mixed  # type: ignore[return-value]


def _luminance(color: Sequence[int]) -> float:
    """Compute the relative luminance of WCAG 2.1."""
    parts = [c / 255 for c in color]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
