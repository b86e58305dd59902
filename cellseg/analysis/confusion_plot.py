"""Draw a confusion matrix: counts, and the same as shares of each true class."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from cellseg.analysis.confusion import FALSE_POSITIVE, Confusion

# Colors that the color-blind can tell apart (Okabe and Ito).
_RIGHT, _WRONG = (0.0, 0.447, 0.698), (0.8, 0.475, 0.655)
_MISSED, _FALSE_POSITIVE = (0.902, 0.624, 0.0), (0.835, 0.369, 0.0)
_KINDS = {
    "right class": _RIGHT,
    "wrong class": _WRONG,
    "missed": _MISSED,
    FALSE_POSITIVE: _FALSE_POSITIVE,
}
_BRIGHTNESS = np.array([0.299, 0.587, 0.114])  # of R, G, B
_PALENESS = 0.7  # below 1, so that small shares can be seen
_DARK = 0.5  # below this brightness of a field, its number is white
_MAX_LABELLED = 30  # above this many classes the numbers in the fields cannot be read


def draw_confusion(confusion: Confusion, figure: Figure | None = None) -> Figure:
    """Draw the counts on the left and the row shares on the right, both colored by kind and share.

    Args:
        confusion: The matrix.
        figure: Figure to draw into, such as a window's; a new one when None.

    Returns:
        The figure.
    """
    side = max(4.6, 0.75 * len(confusion.counts) + 1.8)
    figure = Figure(dpi=140) if figure is None else figure
    figure.set_size_inches(2 * side, side + 0.4)
    figure.set_layout_engine("constrained")
    counts_axes, shares_axes = figure.subplots(1, 2)
    shares = confusion.shares
    _draw_matrix(counts_axes, confusion, [[f"{n}" for n in row] for row in confusion.counts])
    counts_axes.set_title("cells")
    texts = [["" if np.isnan(s) else f"{100 * s:.1f}" for s in row] for row in shares]
    _draw_matrix(shares_axes, confusion, texts)
    shares_axes.set_title("% of the row")
    handles = [
        Patch(facecolor=color, label=name)
        for name, color in _KINDS.items()
        if len(shares) > 2 or color != _WRONG
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(
        f"Which class each cell was assigned (mask IoU > {confusion.iou_thr:g}, "
        f"score >= {confusion.score_thr:g})",
        fontsize="medium",
    )
    return figure


def color_fields(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Color the fields of a matrix: a hue for each kind, the paler the smaller its share is.

    Args:
        shares: (C + 1, C + 1) shares of the row; nan in a row without a cell.

    Returns:
        (C + 1, C + 1, 3) RGB in 0 to 1.
    """
    hues = np.empty((*shares.shape, 3))
    hues[:] = _WRONG
    hues[np.eye(len(shares), dtype=bool)] = _RIGHT
    hues[:, -1], hues[-1] = _MISSED, _FALSE_POSITIVE
    strength = np.nan_to_num(shares)[..., np.newaxis] ** _PALENESS
    return 1 - strength * (1 - hues)


def _draw_matrix(axes: Axes, confusion: Confusion, texts: list[list[str]]) -> None:
    """Draw one matrix with texts in its fields."""
    shares: NDArray[np.float64] = confusion.shares
    fields = color_fields(shares)
    axes.imshow(fields, interpolation="nearest")
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
                color = "white" if fields[row, column] @ _BRIGHTNESS < _DARK else "black"
                axes.text(column, row, text, ha="center", va="center", color=color)
