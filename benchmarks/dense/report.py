"""Write what was measured on dense images as tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from frame import Raw, is_met, significant, spread, write_page, write_table

from .plan import CURVES, GROUPS, TABLE_CELLS, TARGETS, Measure, SpeedComparison, Target

Plan = Callable[[SpeedComparison], SpeedComparison]
QUANTITIES: dict[Measure, tuple[str, str, float]] = {  # field, unit, factor
    "faster": ("seconds", "s", 1.0),
    "time share": ("seconds", "s", 1.0),
    "growth": ("seconds", "s", 1.0),
    "memory share": ("added_gb", "MB", 1000.0),
    "added MB": ("added_gb", "MB", 1000.0),
    "peak share": ("peak_gb", "GB", 1.0),
    "peak GB": ("peak_gb", "GB", 1.0),
}


def as_planned(comparison: SpeedComparison) -> SpeedComparison:
    """Measure a comparison as it is."""
    return comparison


@dataclass(frozen=True)
class TimedSeries:
    """Repeated measurements of one case; `failure` instead of values where it could not run."""

    values: tuple[float, ...]
    failure: str = ""

    def write(self, unit: str = "") -> str:
        """Write median and range."""
        return self.failure or spread(self.values) + unit

    def write_median(self, unit: str) -> str:
        """Write the median alone."""
        return self.failure or significant(median(self.values)) + unit


def read_series(raw: Raw, key: str, field: str, factor: float = 1.0) -> TimedSeries | None:
    """Read one field of all measurements of a case; None where it was not measured."""
    if key not in raw:
        return None
    measurements = raw[key]["measurements"]
    failures = [entry["failure"] for entry in measurements if entry["failure"]]
    values = tuple(entry[field] * factor for entry in measurements if not entry["failure"])
    return TimedSeries(values, failures[0] if failures else "")


def write_report(raw: Raw, path: Path, plan: Plan = as_planned) -> str:
    """Write the page.

    Args:
        raw: The raw numbers by case.
        path: The file to write.
        plan: What was measured in place of each comparison.

    Returns:
        The table of targets alone, for the terminal.
    """
    head = ("operation", "MMDetection", "cellseg", "ratio", "target", "met")
    table = write_table(head, filter(None, (_make_row(raw, target, plan) for target in TARGETS)))
    body = TEXT.format(
        table=table, order=_compare_orders(raw, plan), curves=_write_curves(raw, plan)
    )
    write_page(path, "Dense images", "dense_images.py", body, raw=raw)
    return table


def _make_row(raw: Raw, target: Target, plan: Plan) -> list[str] | None:
    """Make one row of the table; None where it was not measured."""
    field, unit, factor = QUANTITIES[target.measure]
    key, base = plan(target.comparison).key, ""
    stock_key = key("stock")
    if target.measure == "growth":
        base = f"cellseg, {TABLE_CELLS[0]} cells: "
        stock_key = plan(replace(target.comparison, cells=TABLE_CELLS[0])).key("ours")
    stock = read_series(raw, stock_key, field, factor)
    ours = read_series(raw, key(target.side), field, factor)
    if stock is None or ours is None:
        return None
    ratio, wish, met = compare_sides(target, stock, ours)
    sides = base + stock.write(f" {unit}"), ours.write(f" {unit}")
    return [target.row, *sides, ratio, wish, is_met(met)]


def compare_sides(target: Target, stock: TimedSeries, ours: TimedSeries) -> tuple[str, str, bool]:
    """Compare two sides.

    Args:
        target: What is to be reached.
        stock: The other side.
        ours: Our side.

    Returns:
        The ratio with its spread over pairs measured one after the other, what is to be reached,
        and whether our median reaches it.
    """
    limit = target.limit
    if ours.failure:
        return "-", f"{limit:g}", False
    if target.measure in ("added MB", "peak GB"):
        unit = target.measure.split()[1]
        return "-", f"at most {limit:g} {unit}", median(ours.values) <= limit
    if stock.failure:
        return "-", "runs", True
    if target.measure == "faster":
        ratios = pair(stock.values, ours.values)
        return f"{spread(ratios)}x", f"at least {limit:g}x", median(ratios) >= limit
    ratios = pair(ours.values, stock.values)
    wish = f"at most 1/{1 / limit:g}" if target.measure == "memory share" else f"at most {limit:g}"
    return spread(ratios), wish, median(ratios) <= limit


def pair(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    """Divide measurements that were made one after the other."""
    return tuple(a / max(b, 1e-9) for a, b in zip(above, below, strict=False))


def _write_curves(raw: Raw, plan: Plan) -> str:
    """Write the medians behind the plot."""
    rows = []
    for title, comparisons in CURVES.items():
        for comparison in map(plan, comparisons):
            cells: list[object] = [title, comparison.cells]
            for field, factor, unit in (("seconds", 1.0, " s"), ("added_gb", 1000.0, "")):
                for side in ("stock", "ours"):
                    series = read_series(raw, comparison.key(side), field, factor)
                    cells.append(series.write_median(unit) if series else "")
            rows.append(cells)
    sides = ("MMDetection", "cellseg", "MMDetection, added MB", "cellseg, added MB")
    return write_table(("operation", "cells", *sides), rows)


def _compare_orders(raw: Raw, plan: Plan) -> str:
    """Write what the memory order of convolutions does to a training step."""
    key = plan(GROUPS["step-r18"][0]).key
    orders = [read_series(raw, key(side), "seconds") for side in ("ours", "ours-other-order")]
    if not all(series and series.values for series in orders):
        return ""
    chosen, other = (series.write() for series in orders if series)
    return (
        f"\n\n`ChannelsLastHook` chooses the faster memory order of convolutions: {chosen} s per "
        f"image\nof a training step on this machine, against {other} s in the other order."
    )


TEXT = """The MMDetection side runs the same configs with MMDetection's own parts swapped in
(`benchmarks/dense/stock.py`). Images are drawn, 1024 x 1024 pixels unless noted.

{table}

Each entry is the median, with the range in brackets. Each measurement runs in a fresh process with
a limit of 20 GB, both sides in turn; the range of a ratio is over pairs of consecutive
measurements. Pipeline, RPN targets and mask targets are timed on their second run, as in an ongoing
training. Memory is resident memory in 1e9 bytes: *added* is the peak during the first run minus
what was resident before it. Threads wait without spinning on both sides
(`OMP_WAIT_POLICY=PASSIVE`), which makes small parallel operations many times faster on a busy
machine. cellseg's training steps keep freed memory, as `KeepMemoryHook` does in training.{order}

## Against the number of cells

![Time and memory against the number of cells](images/benchmarks.png)

{curves}
"""
