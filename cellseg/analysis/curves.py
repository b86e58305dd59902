"""Draw what training logged: curves of one or more runs, and the times that epochs took."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from terminaltables import AsciiTable

from cellseg.analysis.training_logs import Axis, TrainingRun
from cellseg.defaults import DEFAULT_KEYS, SEED_PATTERN
from cellseg.fileio import write_atomically
from cellseg.visualization.chart_colors import SERIES_COLORS

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")

_TITLES = {
    "coco/segm_mAP_50": "AP50 of the masks, on validation",
    "coco/segm_mAP": "AP of the masks, on validation",
}
_AXIS_TITLES = {"iter": "iteration", "epoch": "epoch", "minutes": "minutes of training"}
_LINE_STYLES = ("-", "--", ":", "-.")
# From 0 to 1, all of them: coco/segm_mAP_50, cell_any_PQ_image_mean, cell_any_F1_50 and the like.
_SCORE = re.compile(r"_m?(AP|AR|PQ|DQ|SQ|AJI|Dice|F1|precision|recall)(?![a-zA-Z])")


@dataclass(frozen=True)
class Curve:
    """One line of a figure.

    Attributes:
        name: Name of the run or the group.
        key: What it shows.
        places: (P,) iterations or epochs.
        values: (P,) smoothed values, or means over the runs of a group.
        raw: (P,) values before smoothing; None where they are the same.
        spread: (P,) standard deviation over the runs of a group; None for a single run.
        num_runs: Runs that the values are the mean of.
    """

    name: str
    key: str
    places: NDArray[np.float64]
    values: NDArray[np.float64]
    raw: NDArray[np.float64] | None = None
    spread: NDArray[np.float64] | None = None
    num_runs: int = 1


def smooth(values: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Smooth as TensorBoard does: an exponential moving average that does not start at zero.

    Args:
        values: (P,) numbers; P may be 0.
        weight: 0 leaves the values, close to 1 smooths most.

    Returns:
        (P,) smoothed values.

    Raises:
        ValueError: If weight is outside 0 <= weight < 1.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"The smoothing weight must be at least 0 and below 1, not {weight}.")
    smoothed = np.empty(len(values))
    mean = 0.0
    for index, value in enumerate(values):
        mean = weight * mean + (1 - weight) * float(value)
        smoothed[index] = mean / (1 - weight ** (index + 1))
    return smoothed


def group_runs(
    runs: Sequence[TrainingRun], pattern: str = SEED_PATTERN
) -> dict[str, list[TrainingRun]]:
    """Put runs together whose names differ only in what a pattern finds.

    Args:
        runs: Runs.
        pattern: Regular expression of the part to leave out of the names.

    Returns:
        The runs of each group by its name, in the order given.
    """
    groups: dict[str, list[TrainingRun]] = {}
    for run in runs:
        groups.setdefault(re.sub(pattern, "", run.name) or run.name, []).append(run)
    return groups


def make_curves(
    runs: Sequence[TrainingRun],
    key: str,
    weight: float = 0.0,
    axis: Axis = "iter",
    group_pattern: str | None = None,
) -> list[Curve]:
    """Make the lines of one key.

    Args:
        runs: Runs; those that did not log the key are left out.
        key: What to show.
        weight: Smoothing; validation scores are never smoothed.
        axis: Measure runs in iterations, epochs or minutes.
        group_pattern: Show the mean and spread of runs whose names differ only in what this regular
            expression finds; None shows each run.

    Returns:
        One curve a run or a group; may be empty.
    """
    groups = (
        [(run.name, [run]) for run in runs]
        if group_pattern is None
        else list(group_runs(runs, group_pattern).items())
    )
    curves = []
    for name, members in groups:
        lines = []
        for run in members:
            places, values = run.series(key, axis)
            if len(places):
                own_weight = weight if key in run.keys()[0] else 0.0
                lines.append((places, values, smooth(values, own_weight)))
        if len(lines) > 1:
            places, mean, spread = average_lines([(line[0], line[2]) for line in lines])
            curves.append(Curve(name, key, places, mean, spread=spread, num_runs=len(lines)))
        elif lines:
            places, values, smoothed = lines[0]
            raw = values if weight and not np.array_equal(values, smoothed) else None
            curves.append(Curve(name, key, places, smoothed, raw))
    return curves


def average_lines(
    lines: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Average lines where all of them have values, interpolating between their points.

    Args:
        lines: At least one (places (P_i,) ascending, values (P_i,)), P_i at least 1.

    Returns:
        (P,) places, (P,) means, (P,) standard deviations (with n - 1; 0 for one line). P is 0 where
        the lines have no stretch in common.
    """
    begin = max(places[0] for places, _ in lines)
    end = min(places[-1] for places, _ in lines)
    grid = np.unique(np.concatenate([places for places, _ in lines]))
    grid = grid[(grid >= begin) & (grid <= end)]
    stacked = np.stack([np.interp(grid, *line) for line in lines])
    spread = stacked.std(axis=0, ddof=1) if len(lines) > 1 else np.zeros(len(grid))
    return grid, stacked.mean(axis=0), spread


def plot_runs(
    runs: Sequence[TrainingRun],
    keys: Sequence[str] = DEFAULT_KEYS,
    weight: float = 0.0,
    axis: Axis = "iter",
    group_pattern: str | None = None,
    title: str | None = None,
) -> Figure:
    """Draw curves: what training logged on the left, what validation logged on the right.

    Both panels share the horizontal axis. Colors tell runs apart, or keys if there is one run.

    Args:
        runs: At least one run.
        keys: What to show; each must be logged by at least one run, except the default ones, of
            which one is enough.
        weight: Smoothing of training curves, see `smooth`; the legend states it.
        axis: Measure runs in iterations, epochs or minutes.
        group_pattern: Mean and spread over runs, see `make_curves`.
        title: Title of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: If a key is logged by no run.
    """
    train_keys = list(dict.fromkeys(key for run in runs for key in run.keys()[0]))
    val_keys = list(dict.fromkeys(key for run in runs for key in run.keys()[1]))
    keys = _check_keys(keys, train_keys, val_keys)
    panels = [
        [make_curves(runs, key, weight, axis, group_pattern) for key in panel]
        for panel in (
            [key for key in keys if key in train_keys],
            [key for key in keys if key not in train_keys],
        )
        if panel
    ]
    figure = Figure(figsize=(6.0 * len(panels) + 0.5, 4.4), dpi=150, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True)[0]
    lengths = {run.iters_per_epoch for run in runs}
    length = lengths.pop() if len(lengths) == 1 else None
    names = (
        [run.name for run in runs] if group_pattern is None else [*group_runs(runs, group_pattern)]
    )
    for ax, panel in zip(axes, panels, strict=True):
        is_smoothed = any(curve.key in train_keys for curves in panel for curve in curves)
        _draw_panel(ax, panel, names, weight if is_smoothed else 0.0)
        ax.set_xlabel(_AXIS_TITLES[axis])
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=axis != "minutes"))
        if axis == "iter" and length is not None:
            _add_epoch_axis(ax, length)
    if title:
        figure.suptitle(title)
    return figure


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, SVG or PDF, by the file's suffix.

    Raises:
        ValueError: If the suffix is another one.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FIGURE_SUFFIXES:
        raise ValueError(f"{path} must end with one of {', '.join(FIGURE_SUFFIXES)}.")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix[1:])
    return write_atomically(path, buffer.getvalue())


def tabulate_times(run: TrainingRun, include_outliers: bool = False) -> str:
    """Write how long the epochs of a run took, as a text table and a summary.

    Args:
        run: The run; without epochs, all of it is one row.
        include_outliers: Count the first record of each epoch too, which holds the time that the
            data loaders need to start.

    Returns:
        The text.

    Raises:
        ValueError: If the run logged no times.
    """
    epochs: dict[int | None, list[tuple[float, float]]] = {}
    for record in run.train:
        if "time" in record:
            pair = float(record["time"]), float(record.get("data_time", np.nan))
            epochs.setdefault(record.get("epoch"), []).append(pair)
    if not epochs:
        raise ValueError(f"{run.name} logged no times; log more often (LoggerHook's interval).")
    rows = [["epoch", "records", "s/iteration", "of it data", "minutes"]]
    means = {}
    for epoch, times in epochs.items():
        counted = np.array(times if include_outliers or len(times) == 1 else times[1:])
        step, data = counted.mean(axis=0)
        means[epoch] = step
        length = run.iters_per_epoch if epoch is not None else run.train[-1]["iter"]
        minutes = "-" if length is None else f"{step * length / 60:.2f}"
        share = "-" if np.isnan(data) else f"{data:.4f}"
        name = "all" if epoch is None else str(epoch)
        rows.append([name, str(len(times)), f"{step:.4f}", share, minutes])
    table = AsciiTable(rows, title=f" {run.name} ")
    table.justify_columns = dict.fromkeys(range(len(rows[0])), "right")
    steps = np.array(list(means.values()))
    summary = f"mean {steps.mean():.4f} s/iteration"
    if len(means) > 1:
        slowest, fastest = max(means, key=lambda e: means[e]), min(means, key=lambda e: means[e])
        summary = (
            f"slowest epoch {slowest} ({means[slowest]:.4f} s/iteration), fastest epoch {fastest} "
            f"({means[fastest]:.4f}), {summary}, s.d. over epochs {steps.std(ddof=1):.4f}"
        )
    return f"{table.table}\n{summary}"


def _check_keys(
    keys: Sequence[str], train_keys: Sequence[str], val_keys: Sequence[str]
) -> list[str]:
    """Return the keys that are logged; see `plot_runs` for which ones must be."""
    logged = {*train_keys, *val_keys}
    absent = [key for key in keys if key not in logged]
    if tuple(keys) == DEFAULT_KEYS and len(absent) < len(keys):
        return [key for key in keys if key in logged]
    if absent:
        raise ValueError(
            f"No run logged {', '.join(absent)}. Training logged: {', '.join(train_keys) or '-'}. "
            f"Validation logged: {', '.join(val_keys) or '-'}."
        )
    return list(dict.fromkeys(keys))


def _draw_panel(
    ax: Axes,
    curves_of_keys: Sequence[Sequence[Curve]],
    names: Sequence[str],
    weight: float,
) -> None:
    """Draw the curves of one panel.

    Args:
        ax: Where to draw.
        curves_of_keys: A list of curves for each key.
        names: Names of the runs of the whole figure.
        weight: With which the curves were smoothed; 0 where they were not.
    """
    keys = [curves[0].key for curves in curves_of_keys if curves]
    for curve in (curve for curves in curves_of_keys for curve in curves):
        run, key = names.index(curve.name), keys.index(curve.key)
        color = SERIES_COLORS[(run if len(names) > 1 else key) % len(SERIES_COLORS)]
        style = _LINE_STYLES[key % len(_LINE_STYLES)] if len(names) > 1 else "-"
        label = ": ".join(
            [curve.name] * (len(names) > 1) + [curve.key] * (len(keys) > 1 or len(names) == 1)
        )
        if curve.num_runs > 1:
            label += f" (mean and s.d. of {curve.num_runs})"
        if weight:
            label += f" (smoothed, weight {weight:g})"
        _draw_curve(ax, curve, color, style, label)
    ax.set_ylabel(_TITLES.get(keys[0], keys[0]) if len(keys) == 1 else "")
    rising = all(_SCORE.search(key) for key in keys)
    if rising:
        ax.set_ylim(0, 1)  # a failed run must not look like a good one
    elif any("loss" in key for key in keys):
        ax.set_ylim(bottom=0)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize="small", framealpha=0.8, loc="lower right" if rising else "best")


def _draw_curve(ax: Axes, curve: Curve, color: str, style: str, label: str) -> None:
    """Draw a curve, what it was before smoothing, and the spread of several runs."""
    if curve.raw is not None:
        ax.plot(curve.places, curve.raw, color=color, alpha=0.25, linewidth=0.8)
    marker = "o" if len(curve.places) <= 40 else None
    look: dict[str, Any] = {"color": color, "marker": marker, "markersize": 3, "linewidth": 1.5}
    ax.plot(curve.places, curve.values, style, label=label, **look)
    if curve.spread is not None:
        low, high = curve.values - curve.spread, curve.values + curve.spread
        ax.fill_between(curve.places, low, high, color=color, alpha=0.2, linewidth=0)


def _add_epoch_axis(ax: Axes, iters_per_epoch: int) -> None:
    """Add an upper axis that counts epochs."""

    def to_epochs(iterations: Any) -> Any:
        return iterations / iters_per_epoch

    def to_iterations(epochs: Any) -> Any:
        return epochs * iters_per_epoch

    upper = ax.secondary_xaxis("top", functions=(to_epochs, to_iterations))
    upper.set_xlabel("epoch")
    upper.xaxis.set_major_locator(MaxNLocator(6, integer=True))
