"""Draw how well the anchors of several configs cover the cells of one data set."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cellseg.analysis.anchor_recall import (
    AnchorSetting,
    RecallFigures,
    name_bands,
    scale_to_input,
    size_boxes,
    summarize_groups,
)
from cellseg.structures.cells import Cells


def draw_anchor_recall(
    settings: Sequence[AnchorSetting],
    images: Sequence[Cells],
    ious: Sequence[NDArray[np.float64]],
    class_names: Sequence[str],
    figure: Figure | None = None,
) -> Figure:
    """Draw recall against IoU, sizes of cells and anchors, and recall per size band and class.

    Args:
        settings: The anchors of each config.
        images: The cells of each image, N in all.
        ious: For each config the best IoUs (N,).
        class_names: The classes in order.
        figure: Figure to draw into, such as a window's; a new one when None.

    Returns:
        The figure.
    """
    figure = Figure(dpi=140) if figure is None else figure
    figure.set_size_inches(13, 8.5)
    figure.set_layout_engine("constrained")
    axes = figure.subplots(2, 2)
    names = [setting.name for setting in settings]
    groups = [summarize_groups(images, values, class_names) for values in ious]
    _draw_curves(axes[0, 0], names, ious, [group["all"]["all cells"] for group in groups])
    _draw_sizes(axes[0, 1], settings, images)
    _draw_bars(axes[1, 0], names, [group["size"] for group in groups], name_bands())
    axes[1, 0].set_xlabel("size of the box, square root of its area, in pixels of the image")
    _draw_bars(axes[1, 1], names, [group["class"] for group in groups], list(class_names))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    title = f"Best anchor of each of {sum(map(len, images))} cells"
    figure.legend(handles, labels, loc="outside upper center", title=title)
    return figure


def _draw_curves(
    axes: Axes,
    names: Sequence[str],
    ious: Sequence[NDArray[np.float64]],
    figures: Sequence[RecallFigures],
) -> None:
    """Draw the share of cells whose best anchor reaches each IoU."""
    thresholds = np.linspace(0, 1, 201)
    for number, (name, values, summary) in enumerate(zip(names, ious, figures, strict=True)):
        below = np.searchsorted(np.sort(values), thresholds, side="left")
        share = 1 - below / max(len(values), 1)
        label = (
            f"{name}: {100 * summary.recall_50:.1f}% at 0.5, {100 * summary.recall_70:.1f}% at 0.7"
        )
        axes.plot(thresholds, 100 * share, color=f"C{number}", label=label)
    for threshold in (0.5, 0.7):
        axes.axvline(threshold, color="0.6", linewidth=0.8, linestyle=":")
    axes.set(xlim=(0, 1), ylim=(0, 102), xlabel="IoU with the best anchor")
    axes.set(ylabel="% of the cells", title="Cells covered at least this well")


def _draw_sizes(axes: Axes, settings: Sequence[AnchorSetting], images: Sequence[Cells]) -> None:
    """Draw the sizes of the cells as the network sees them, and those of the anchors."""
    drawn: list[NDArray[np.float64]] = []
    for number, setting in enumerate(settings):
        factors, _ = scale_to_input(images, setting)
        sizes = size_boxes(images) * np.sqrt(factors.prod(axis=1))
        if len(sizes) and not any(np.array_equal(sizes, other) for other in drawn):
            low = max(float(sizes.min()), 1)
            bins = np.geomspace(low, max(float(sizes.max()), 1.1 * low), 50).tolist()
            color = f"C{number}" if drawn else "0.3"
            axes.hist(sizes, bins=bins, histtype="step", color=color)
            drawn.append(sizes)
        for grid in setting.grids:
            sides = grid.shapes_xyxy[:, 2:] - grid.shapes_xyxy[:, :2]
            for size in np.unique(np.sqrt(sides.prod(axis=1)).round(2)):
                axes.axvline(size, color=f"C{number}", linestyle="--", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(xlabel="size in pixels of the network's input", ylabel="cells")
    axes.set_title("Cells (steps) and anchors (dashed)")


def _draw_bars(
    axes: Axes,
    names: Sequence[str],
    groups: Sequence[Mapping[str, RecallFigures]],
    labels: Sequence[str],
) -> None:
    """Draw recall at 0.5 as bars, at 0.7 as their darker part, and the mean IoU as a dot."""
    width = 0.8 / len(names)
    for number, (name, figures) in enumerate(zip(names, groups, strict=True)):
        places = np.arange(len(labels)) + (number + 0.5) * width - 0.4
        columns = [figures[label] for label in labels]
        at_50 = [100 * column.recall_50 for column in columns]
        at_70 = [100 * column.recall_70 for column in columns]
        axes.bar(places, at_50, width * 0.92, color=f"C{number}", alpha=0.35, label=name)
        axes.bar(places, at_70, width * 0.92, color=f"C{number}")
        means = [100 * column.mean_iou for column in columns]
        axes.plot(places, means, "o", color="black", markersize=3.5)
    counts = [groups[0][label].num_boxes for label in labels]
    texts = [f"{label}\n({n} cells)" for label, n in zip(labels, counts, strict=True)]
    axes.set_xticks(range(len(labels)), texts, fontsize="small")
    axes.set(ylim=(0, 103), ylabel="% of the cells")
    axes.set_title("Recall at IoU 0.5 (pale) and 0.7 (full), mean best IoU x 100 (dot)")
