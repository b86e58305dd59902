"""Lay charts out for the report: places in pixels, ready for an SVG template.

A chart is drawn at the width of a phone, so that its text stays readable there, and its colors are
names of classes in the page's style sheet, so that they follow dark mode.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from cellseg.scoring.outcomes import SizeBand

WIDTH_PX, HEIGHT_PX = 440, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 428, 16, 244
_NUM_DASHES = 4

Range = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One line to draw.

    Attributes:
        name: For the legend.
        color_class: CSS class that sets its color.
        xs: (P,) values across; P may be 0.
        ys: (P,) values up.
        dash: Which dash pattern; tells lines apart without color.
        dot: A point to mark on it, as x, y.
        note: What the legend adds to the name.
        dots_only: Draw the points without a line.
        faint: Draw it in the background, without a legend entry.
    """

    name: str
    color_class: str
    xs: ArrayLike
    ys: ArrayLike
    dash: int = 0
    dot: tuple[float, float] | None = None
    note: str = ""
    dots_only: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, in pixels along it."""

    place: float
    label: str


@dataclass(frozen=True)
class Line:
    """A series in pixels; `points` is what an SVG polyline takes."""

    name: str
    color_class: str
    points: str
    places: list[tuple[float, float]]
    dash: int
    dot: tuple[float, float] | None
    note: str
    dots_only: bool
    faint: bool


@dataclass(frozen=True)
class Bar:
    """A bar in pixels, with its 95 % interval and how many cells it stands for."""

    x: float
    y: float
    width: float
    height: float
    low: float
    high: float
    count: str


@dataclass(frozen=True)
class Chart:
    """All that the SVG template needs.

    Attributes:
        summary: What the chart shows, for those who do not see it.
    """

    title: str
    summary: str
    x_title: str
    y_title: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    width: int = WIDTH_PX
    height: int = HEIGHT_PX
    left: int = _LEFT
    right: int = _RIGHT
    top: int = _TOP
    bottom: int = _BOTTOM

    @property
    def legend(self) -> list[Line]:
        """The lines that have a legend entry, where there is more than one or one has a note."""
        shown = [line for line in self.lines if not line.faint]
        return shown if len(shown) > 1 or any(line.note for line in shown) else []


def draw_lines(
    title: str,
    series: Sequence[Series],
    axes: tuple[str, str],
    summary: str,
    x_range: Range | None = None,
    y_range: Range | None = None,
) -> Chart:
    """Lay out a chart of lines.

    Args:
        title: What stands above it.
        series: Lines; those without a point are left out.
        axes: Titles of the horizontal and the vertical axis.
        summary: What the chart shows, in words.
        x_range: Ends of the horizontal axis; those of the data when None.
        y_range: Ends of the vertical axis; the data's rounded outwards when None.

    Returns:
        The chart.
    """
    drawn = [line for line in series if np.size(line.xs)]
    every_x = np.concatenate([np.zeros(0), *(np.asarray(line.xs, float) for line in drawn)])
    every_y = np.concatenate([np.zeros(0), *(np.asarray(line.ys, float) for line in drawn)])
    x_ends = x_range or _ends_of(every_x)
    y_values = _choose_ticks(*(y_range or _ends_of(every_y)))
    y_ends = y_range or (min(y_values), max(y_values))
    across, up = _scale(x_ends, (_LEFT, _RIGHT)), _scale(y_ends, (_BOTTOM, _TOP))
    return Chart(
        title,
        summary,
        *axes,
        [Tick(float(across(v)), f"{v:g}") for v in _choose_ticks(*x_ends) if _inside(v, x_ends)],
        [Tick(float(up(v)), f"{v:g}") for v in y_values if _inside(v, y_ends)],
        [_place_line(line, across, up) for line in drawn],
    )


def draw_size_bands(
    title: str,
    bands: Sequence[SizeBand],
    classes: Sequence[tuple[str, str, Sequence[SizeBand]]],
    summary: str,
    min_cells: int = 5,
) -> Chart:
    """Lay out recall against cell size: a bar a band, and in it a dot for each class.

    Args:
        title: What stands above it.
        bands: Bands of all cells, at least one.
        classes: Name, CSS class and bands of each class; may be empty.
        summary: What the chart shows, in words.
        min_cells: A class of fewer cells in a band has no dot there.

    Returns:
        The chart.
    """
    up = _scale((0.0, 1.0), (_BOTTOM, _TOP))
    step = (_RIGHT - _LEFT) / len(bands)
    bars, ticks = [], []
    for index, band in enumerate(bands):
        x = _LEFT + index * step
        low, high = (float(up(end)) for end in band.interval)
        top = float(up(band.recall)) if band.num_cells else float(_BOTTOM)
        bars.append(Bar(x + 3, top, step - 6, _BOTTOM - top, low, high, f"{band.num_cells:,}"))
        ticks.append(Tick(x, f"{band.low_px:g}"))
    ticks.append(Tick(float(_RIGHT), f"{bands[-1].high_px:g}"))
    lines = []
    for place, (name, color_class, own) in enumerate(classes):
        offset = step * (0.5 + (place + 0.5 - len(classes) / 2) * 0.6 / max(len(classes), 1))
        points = [
            (_LEFT + index * step + offset, float(up(band.recall)))
            for index, band in enumerate(own)
            if band.num_cells >= min_cells
        ]
        lines.append(
            Line(name, color_class, "", points, place % _NUM_DASHES, None, "", True, False)
        )
    y_ticks = [Tick(float(up(v)), f"{v:g}") for v in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    axes = ("cell diameter (px)", "share found")
    return Chart(title, summary, *axes, ticks, y_ticks, lines, bars)


def _place_line(
    line: Series,
    across: Callable[[ArrayLike], NDArray[np.float64]],
    up: Callable[[ArrayLike], NDArray[np.float64]],
) -> Line:
    """Bring a series to pixels."""
    xs, ys = (np.asarray(side(v)) for side, v in ((across, line.xs), (up, line.ys)))
    places = [(round(float(x), 1), round(float(y), 1)) for x, y in zip(xs, ys, strict=True)]
    points = " ".join(f"{x:g},{y:g}" for x, y in places)
    dot = None if line.dot is None else (float(across(line.dot[0])), float(up(line.dot[1])))
    dash = line.dash % _NUM_DASHES
    return Line(
        line.name,
        line.color_class,
        points,
        places,
        dash,
        dot,
        line.note,
        line.dots_only,
        line.faint,
    )


def _scale(values: Range, pixels: Range) -> Callable[[ArrayLike], NDArray[np.float64]]:
    """Return the function that maps a range of values to a range of pixels."""
    (low, high), (begin, end) = values, pixels
    return lambda v: begin + (np.asarray(v, float) - low) / ((high - low) or 1.0) * (end - begin)


def _choose_ticks(low: float, high: float) -> list[float]:
    """Choose about five round numbers from low or below to high or above."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    return [float(v) for v in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]


def _ends_of(values: NDArray[np.float64]) -> Range:
    """Return the smallest and largest value; 0 and 1 without any."""
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


def _inside(value: float, ends: Range) -> bool:
    """Return whether a tick lies on the axis."""
    slack = 1e-9 * (ends[1] - ends[0])
    return ends[0] - slack <= value <= ends[1] + slack
