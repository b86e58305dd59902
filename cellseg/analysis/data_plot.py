"""Draw what a data set holds: classes, sizes, density, folds, and what looks wrong."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cellseg.analysis.data_report import DataFacts
from cellseg.visualization.chart_colors import SERIES_COLORS, choose_chart_colors

_LINE_STYLES = ("-", "--", "-.", ":")  # tell classes apart without color


def draw_data_report(
    facts: DataFacts,
    palette: Sequence[tuple[int, int, int]] = (),
    figure: Figure | None = None,
) -> Figure:
    """Draw nine panels.

    Args:
        facts: The data set.
        palette: RGB color of each class, darkened until it is seen on white; the default ones when
            empty.
        figure: Figure to draw into, such as a window's; a new one when None.

    Returns:
        The figure.
    """
    figure = Figure(dpi=140) if figure is None else figure
    figure.set_size_inches(14, 12)
    figure.set_layout_engine("constrained")
    axes = figure.subplots(3, 3)
    count = len(facts.class_names)
    colors = [
        light
        for _, light, _ in choose_chart_colors(palette if len(palette) >= count else (), count)
    ]
    _draw_class_counts(axes[0, 0], facts, colors)
    _draw_per_image(axes[0, 1], facts)
    _draw_density(axes[0, 2], facts)
    _draw_sizes(axes[1, 0], facts, colors)
    _draw_areas(axes[1, 1], facts, colors)
    _draw_aspects(axes[1, 2], facts, colors)
    _draw_suspicious(axes[2, 0], facts)  # its labels and the next but one's legend reach outside
    _draw_image_sizes(axes[2, 1], facts)
    _draw_parts(axes[2, 2], facts)
    figure.suptitle(f"{len(facts.images)} images, {len(facts.cells.labels)} cells")
    return figure


def _draw_class_counts(axes: Axes, facts: DataFacts, colors: Sequence[str]) -> None:
    """Draw cells per class, and in how many images."""
    counts = facts.counts
    places = range(len(facts.class_names))
    bars = axes.bar(places, counts.sum(axis=0), color=colors)
    texts = [
        f"{total}\nin {images} image{'' if images == 1 else 's'}"
        for total, images in zip(counts.sum(axis=0), (counts > 0).sum(axis=0), strict=True)
    ]
    axes.bar_label(bars, texts, fontsize="small")
    axes.set_xticks(places, facts.class_names, rotation=30, ha="right")
    axes.margins(y=0.2)
    axes.set(ylabel="cells", title="Cells of each class")


def _draw_per_image(axes: Axes, facts: DataFacts) -> None:
    """Draw how many cells images hold."""
    per_image = facts.counts.sum(axis=1)
    axes.hist(per_image, bins=_bins(per_image), color="0.5")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="cells per image", ylabel="images", title="Cells per image")


def _draw_sizes(axes: Axes, facts: DataFacts, colors: Sequence[str]) -> None:
    """Draw sizes on a logarithmic scale, one line per class."""
    sizes = np.maximum(facts.cells.sizes_px, 1)
    if len(sizes):
        _draw_by_class(axes, facts, sizes, np.geomspace(sizes.min(), sizes.max() + 1, 40), colors)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(xlabel="square root of the box's area, in pixels", ylabel="cells", title="Sizes")


def _draw_areas(axes: Axes, facts: DataFacts, colors: Sequence[str]) -> None:
    """Draw areas on a logarithmic scale, one line per class."""
    areas = np.maximum(facts.cells.areas, 1)
    if len(areas):
        bins = np.geomspace(areas.min(), areas.max() + 1, 40)
        _draw_by_class(axes, facts, areas, bins, colors)
    axes.axvline(facts.tiny_px, color="0.4", linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set(xlabel="area in pixels (dotted: tiny)", ylabel="cells", title="Areas")


def _draw_aspects(axes: Axes, facts: DataFacts, colors: Sequence[str]) -> None:
    """Draw aspects on a logarithmic scale, one line per class."""
    aspects = facts.cells.aspects
    if len(aspects):
        reach = max(float(np.abs(np.log2(aspects)).max()), 1.0)
        bins = np.geomspace(2**-reach, 2**reach, 41).astype(np.float64)
        _draw_by_class(axes, facts, aspects, bins, colors)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(xlabel="height / width of the box", ylabel="cells", title="Aspects")


def _draw_by_class(
    axes: Axes,
    facts: DataFacts,
    values: NDArray[np.float64] | NDArray[np.int64],
    bins: NDArray[np.float64],
    colors: Sequence[str],
) -> None:
    """Draw one histogram line per class."""
    edges = bins.tolist()
    for label, (name, color) in enumerate(zip(facts.class_names, colors, strict=True)):
        own = values[facts.cells.labels == label]
        style = _LINE_STYLES[label % len(_LINE_STYLES)]
        if len(own):
            axes.hist(own, edges, histtype="step", color=color, label=name, lw=1.6, ls=style)
    axes.legend(fontsize="small")


def _draw_image_sizes(axes: Axes, facts: DataFacts) -> None:
    """Draw width and height of the images."""
    sides = np.array([(image.width, image.height) for image in facts.images]).reshape(-1, 2)
    places, counts = np.unique(sides, axis=0, return_counts=True)
    axes.scatter(places[:, 0], places[:, 1], s=20 * np.sqrt(counts), alpha=0.5, color="C0")
    limit = 1.05 * float(sides.max(initial=1))
    axes.set(xlim=(0, limit), ylim=(0, limit), aspect="equal", title="Image sizes")
    axes.set(xlabel="width in pixels", ylabel="height in pixels")


def _draw_density(axes: Axes, facts: DataFacts) -> None:
    """Draw cells per megapixel."""
    pixels = np.array([image.height * image.width for image in facts.images])
    density = 1e6 * facts.counts.sum(axis=1) / np.maximum(pixels, 1)
    axes.hist(density, bins=_bins(density), color="0.5")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="cells per megapixel", ylabel="images", title="Density")


def _draw_parts(axes: Axes, facts: DataFacts) -> None:
    """Draw the share of images and of each class that every fold or split has."""
    axes.set_title("Balance of folds or splits")
    if not facts.parts:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no folds", ha="center", transform=axes.transAxes)
        return
    counts = facts.counts
    totals = np.maximum(counts.sum(axis=0), 1)
    names = ["images", *facts.class_names]
    bottom = np.zeros(len(names))
    for number, (part, indices) in enumerate(facts.parts.items()):
        images = len(indices) / max(len(facts.images), 1)
        shares = 100 * np.concatenate(([images], counts[indices].sum(axis=0) / totals))
        color = SERIES_COLORS[number % len(SERIES_COLORS)]
        axes.bar(names, shares, bottom=bottom, color=color, label=part, ec="white")
        bottom += shares
    axes.set(ylabel="%", ylim=(0, 100.5))
    axes.tick_params(axis="x", rotation=30)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))


def _draw_suspicious(axes: Axes, facts: DataFacts) -> None:
    """Draw how many cells and images look wrong."""
    total = max(len(facts.cells.labels), 1)
    found = {f"cells {name}": int(mask.sum()) for name, mask in facts.suspicious.items()}
    shares = [100 * count / total for count in found.values()]
    checked = [image for image in facts.images if not np.isnan(image.stain_contrast)]
    swapped = sum(image.looks_swapped for image in checked)
    names = [_break_line(name) for name in (*found, "images with brown tissue")]
    shares.append(100 * swapped / max(len(checked), 1))
    bars = axes.barh(names, shares, color=[SERIES_COLORS[4]] * len(found) + ["saddlebrown"])
    texts = [str(count) for count in found.values()] + [f"{swapped} of {len(checked)}"]
    axes.bar_label(bars, texts, padding=3, fontsize="small")
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set(xlabel="% of the cells, or images", title="To be looked at")


def _break_line(text: str) -> str:
    """Break a label after its second word."""
    words = text.split()
    return f"{' '.join(words[:2])}\n{' '.join(words[2:])}"


def _bins(values: NDArray[np.float64] | NDArray[np.int64]) -> list[float]:
    """Return up to 30 bins from 0 to the largest value."""
    edges: list[float] = np.linspace(0, max(float(values.max(initial=0)), 1) * 1.001, 31).tolist()
    return edges
