"""Draw time and memory against the number of cells, for both sides."""

from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from .plan import CURVES, Comparison
from .report import Plan, as_planned, read_series

SIDES = {"stock": ("MMDetection", "tab:gray", "s"), "ours": ("cellseg", "tab:blue", "o")}
QUANTITIES = {"seconds": ("time, s", 1.0), "added_gb": ("added memory, MB", 1000.0)}
_FLOOR = {"seconds": 1e-4, "added_gb": 0.1}


def draw_curves(raw: dict[str, dict[str, Any]], path: Path, plan: Plan = as_planned) -> None:
    """Draw one column a work, time above and memory below, both axes logarithmic.

    Args:
        raw: The raw numbers by case.
        path: The PNG file to write.
        plan: What was measured in place of each comparison.
    """
    figure, axes = plt.subplots(
        len(QUANTITIES), len(CURVES), figsize=(15, 7), sharex=True, sharey="row", squeeze=False
    )
    for column, (title, comparisons) in enumerate(CURVES.items()):
        axes[0, column].set_title(title)
        axes[-1, column].set_xlabel("cells")
        for row, field in enumerate(QUANTITIES):
            for side in SIDES:
                _draw_side(axes[row, column], raw, [plan(c) for c in comparisons], side, field)
    for row, (name, _) in enumerate(QUANTITIES.values()):
        axes[row, 0].set_ylabel(name)
    for axis in axes.flat:
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.grid(alpha=0.3, which="both")
    if axes[0, 0].lines:
        axes[0, 0].legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_side(
    axis: Axes, raw: dict[str, dict[str, Any]], comparisons: list[Comparison], side: str, field: str
) -> None:
    """Draw the medians and ranges of one side, and a cross where it failed."""
    name, colour, marker = SIDES[side]
    points = []
    for comparison in comparisons:
        series = read_series(raw, comparison.key(side), field)
        if series is None:
            continue
        if series.failure:
            axis.axvline(comparison.cells, color=colour, linestyle=":", linewidth=1)
            axis.annotate(
                f"stock {series.failure}",
                (comparison.cells, 0.97),
                xycoords=("data", "axes fraction"),
                rotation=90,
                ha="right",
                va="top",
                fontsize=7,
                color=colour,
            )
            continue
        values = [max(value * QUANTITIES[field][1], _FLOOR[field]) for value in series.values]
        points.append((comparison.cells, median(values), min(values), max(values)))
    if points:
        cells, middles, lows, highs = zip(*points, strict=True)
        axis.plot(cells, middles, marker=marker, color=colour, label=name)
        axis.fill_between(cells, lows, highs, color=colour, alpha=0.25)
