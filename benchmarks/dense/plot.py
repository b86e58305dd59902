"""Draw time and memory against the number of cells, for both sides."""

from pathlib import Path
from statistics import median

from frame import Raw
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cellseg.analysis.curves import save_figure

from .plan import CURVES, SpeedComparison
from .report import Plan, as_planned, read_series

SIDES = {"stock": ("MMDetection", "tab:gray", "s"), "ours": ("cellseg", "tab:blue", "o")}
QUANTITIES = {"seconds": ("time, s", 1.0, 1e-4), "added_gb": ("added memory, MB", 1000.0, 0.1)}


def draw_curves(raw: Raw, path: Path, plan: Plan = as_planned) -> None:
    """Draw one column per operation, time above and memory below, both axes logarithmic.

    Args:
        raw: The raw numbers by case.
        path: The PNG file to write.
        plan: What was measured in place of each comparison.
    """
    figure = Figure(figsize=(15, 7), dpi=110)
    axes = figure.subplots(len(QUANTITIES), len(CURVES), sharex=True, sharey="row", squeeze=False)
    for column, (title, comparisons) in enumerate(CURVES.items()):
        axes[0, column].set_title(title)
        axes[-1, column].set_xlabel("cells")
        for row, field in enumerate(QUANTITIES):
            for side in SIDES:
                _draw_side(axes[row, column], raw, [plan(c) for c in comparisons], side, field)
    for row, (name, *_) in enumerate(QUANTITIES.values()):
        axes[row, 0].set_ylabel(name)
    for axis in axes.flat:
        axis.set(xscale="log", yscale="log")
        axis.grid(alpha=0.3, which="both")
    if axes[0, 0].lines:
        axes[0, 0].legend()
    figure.tight_layout()
    save_figure(figure, path)


def _draw_side(
    axis: Axes, raw: Raw, comparisons: list[SpeedComparison], side: str, field: str
) -> None:
    """Draw the medians and ranges of one side, and a dotted line where it failed."""
    name, color, marker = SIDES[side]
    _, factor, floor = QUANTITIES[field]
    points = []
    for comparison in comparisons:
        series = read_series(raw, comparison.key(side), field, factor)
        if series is None:
            continue
        if series.failure:
            _mark_failure(axis, comparison.cells, series.failure, color)
            continue
        values = [max(value, floor) for value in series.values]
        points.append((comparison.cells, median(values), min(values), max(values)))
    if points:
        cells, middles, lows, highs = zip(*points, strict=True)
        axis.plot(cells, middles, marker=marker, color=color, label=name)
        axis.fill_between(cells, lows, highs, color=color, alpha=0.25)


def _mark_failure(axis: Axes, cells: int, text: str, color: str) -> None:
    """Draw a dotted line where a side could not run, and say why."""
    axis.axvline(cells, color=color, linestyle=":", linewidth=1)
    place = {"xycoords": ("data", "axes fraction"), "rotation": 90, "ha": "right", "va": "top"}
    axis.annotate(text, (cells, 0.97), fontsize=7, color=color, **place)
