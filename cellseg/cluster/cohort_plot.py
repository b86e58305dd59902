"""One picture of a cohort: the cells of each class, image by image."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cellseg.fileio import write_atomically
from cellseg.visualization.chart_colors import choose_chart_colors

_MOST_NAMES = 40  # that can be read below the bars
_MOST_BARS = 400  # that can be told apart; beyond, bars are means of neighbors


def plot_cohort(
    rows: Sequence[Mapping[str, Any]], class_names: Sequence[str], path: Path
) -> Path | None:
    """Draw the cells of each class as stacked bars, images by their number of cells.

    Args:
        rows: From `cohort_table`.
        class_names: Names of the classes.
        path: The PNG file.

    Returns:
        The file; None where no image has a count.
    """
    known = [row for row in rows if row["cells"] is not None]
    if not known:
        return None
    known.sort(key=lambda row: -row["cells"])
    counts = np.array([[row[f"cells_{name}"] or 0 for name in class_names] for row in known])
    counts, each = _average(counts.astype(float))  # (B, C)
    figure = Figure(figsize=(max(6.0, min(len(counts) * 0.25, 16.0)), 4.5), layout="constrained")
    axes = figure.add_subplot()
    colors = choose_chart_colors((), len(class_names))
    base = np.zeros(len(counts))
    places = np.arange(len(counts))
    for number, name in enumerate(class_names):
        color = colors[number][1]
        axes.bar(places, counts[:, number], 0.9, bottom=base, color=color, label=name)
        base += counts[:, number]
    axes.set_ylabel("cells" if each == 1 else f"cells per image, mean of {each} images")
    axes.set_xlabel(f"{len(known):,} images, most cells first")
    if len(counts) <= _MOST_NAMES and each == 1:
        axes.set_xticks(places, [row["image"] for row in known], rotation=60, ha="right", size=7)
    else:
        axes.set_xticks([])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    failed = len(rows) - len(known)
    title = f"{int(sum(row['cells'] for row in known)):,} cells in {len(known):,} images"
    axes.set_title(f"{title}, {failed:,} without a result" if failed else title, size=10)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return write_atomically(path, picture.getvalue())


def _average(counts: np.ndarray) -> tuple[np.ndarray, int]:
    """Average neighboring rows until the bars can be told apart; their number per bar."""
    each = -(-len(counts) // _MOST_BARS)
    if each == 1:
        return counts, 1
    marks = np.arange(0, len(counts), each)
    sizes = np.diff([*marks, len(counts)])
    return np.add.reduceat(counts, marks, axis=0) / sizes[:, None], each
