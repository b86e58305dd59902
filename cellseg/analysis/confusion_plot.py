"""Draw a confusion matrix: counts, and the same as shares of each true class."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cellseg.analysis.confusion import FALSE_POSITIVE, Confusion

_MAX_LABELLED = 30  # above this many classes the numbers in the fields cannot be read


def draw_confusion(confusion: Confusion, figure: Figure | None = None) -> Figure:
    """Draw the counts on the left and the row shares on the right, both colored by share.

    Args:
        confusion: The matrix.
        figure: Figure to draw into, such as a window's; a new one when None.

    Returns:
        The figure.
    """
    side = max(4.6, 0.75 * len(confusion.counts) + 1.8)
    figure = Figure(dpi=140) if figure is None else figure
    figure.set_size_inches(2 * side, side)
    figure.set_layout_engine("constrained")
    counts_axes, shares_axes = figure.subplots(1, 2)
    shares = confusion.shares
    _draw_matrix(counts_axes, confusion, [[f"{n}" for n in row] for row in confusion.counts])
    counts_axes.set_title("cells")
    texts = [["" if np.isnan(s) else f"{100 * s:.1f}" for s in row] for row in shares]
    _draw_matrix(shares_axes, confusion, texts)
    shares_axes.set_title("% of the row")
    figure.suptitle(
        f"Which class each cell was taken for (mask IoU > {confusion.iou_thr:g}, "
        f"score >= {confusion.score_thr:g})",
        fontsize="medium",
    )
    return figure


def _draw_matrix(axes: Axes, confusion: Confusion, texts: list[list[str]]) -> None:
    """Draw one matrix with texts in its fields."""
    shares: NDArray[np.float64] = confusion.shares
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    places = range(len(shares))
    axes.set_xticks(places, [*confusion.class_names, "missed"], rotation=35, ha="right")
    axes.set_yticks(places, [*confusion.class_names, FALSE_POSITIVE])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    last = len(shares) - 1
    for line in (axes.axhline, axes.axvline):
        line(last - 0.5, color="0.4", linewidth=1)
    axes.fill(
        [last - 0.5, last + 0.5, last + 0.5, last - 0.5], [last - 0.5] * 2 + [last + 0.5] * 2, "0.9"
    )
    if len(shares) > _MAX_LABELLED:
        return
    for row, line_texts in enumerate(texts):
        for column, text in enumerate(line_texts):
            if (row, column) != (last, last):
                color = "white" if shares[row, column] > 0.55 else "black"
                axes.text(column, row, text, ha="center", va="center", color=color)
