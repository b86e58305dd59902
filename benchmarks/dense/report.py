"""Write what was measured as a table, with machine, date and versions."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from cellseg.cores import count_cores

from .plan import CURVES, GROUPS, TABLE_CELLS, TARGETS, Comparison, Target

ORDERS = ("ours", "ours-other-order")
PACKAGES = ("torch", "onedl-mmdetection", "onedl-mmcv", "numpy", "pycocotools", "faster-coco-eval")
Raw = dict[str, dict[str, Any]]
Plan = Callable[[Comparison], Comparison]


def as_planned(comparison: Comparison) -> Comparison:
    """Measure a comparison as it is."""
    return comparison


@dataclass(frozen=True)
class Series:
    """Repeated measurements of one case; `failure` instead of values where it could not run."""

    values: tuple[float, ...]
    failure: str = ""

    def write(self, digits: int = 3) -> str:
        """Write median and range."""
        if self.failure:
            return self.failure
        low, middle, high = (
            _write(value, digits)
            for value in (min(self.values), median(self.values), max(self.values))
        )
        return f"{middle} [{low} - {high}]"


def read_series(raw: Raw, key: str, field: str) -> Series | None:
    """Read one field of all measurements of a case; None where it was not measured."""
    if key not in raw:
        return None
    measurements = raw[key]["measurements"]
    failures = [entry["failure"] for entry in measurements if entry["failure"]]
    values = tuple(entry[field] for entry in measurements if not entry["failure"])
    return Series(values, failures[0] if failures else "")


def describe_machine() -> str:
    """Name processor, cores, memory, system and versions."""
    cpu = platform.processor() or platform.machine()
    if (listing := Path("/proc/cpuinfo")).exists():  # Linux only
        for line in listing.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
    memory = ""
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):  # not on Windows
        memory = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB, "
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{cpu}, {count_cores()} cores, {memory}{platform.system()}, "
        f"Python {platform.python_version()}, {versions}"
    )


def write_report(raw: Raw, path: Path, plan: Plan = as_planned) -> str:
    """Write the table as Markdown.

    Args:
        raw: The raw numbers by case.
        path: The file to write.
        plan: What was measured in place of each comparison.

    Returns:
        The table alone, for the terminal.
    """
    lines = [
        "| work | stock | ours | ratio | target | met |",
        "|---|---|---|---|---|---|",
        *(line for target in TARGETS if (line := _write_line(raw, target, plan))),
    ]
    table = "\n".join(lines)
    machines = sorted({(case["date"], case["machine"]) for case in raw.values()})
    measured = "\n".join(f"* {day}: {machine}" for day, machine in machines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        TEXT.format(
            table=table,
            measured=measured,
            notes=_write_notes(raw, plan),
            curves=_write_curves(raw, plan),
        ),
        "utf-8",
    )
    return table


def _write_line(raw: Raw, target: Target, plan: Plan) -> str:
    """Write one line of the table; empty where it was not measured."""
    field, unit, scale = {
        "faster": ("seconds", "s", 1.0),
        "time share": ("seconds", "s", 1.0),
        "growth": ("seconds", "s", 1.0),
        "memory share": ("added_gb", "MB", 1000.0),
        "added MB": ("added_gb", "MB", 1000.0),
        "peak share": ("peak_gb", "GB", 1.0),
        "peak GB": ("peak_gb", "GB", 1.0),
    }[target.measure]
    comparison = plan(target.comparison)
    stock = read_series(raw, comparison.key("stock"), field)
    ours = read_series(raw, comparison.key(target.side), field)
    if target.measure == "growth":
        fewer_cells = plan(replace(target.comparison, cells=TABLE_CELLS[0]))
        stock = read_series(raw, fewer_cells.key("ours"), field)
    if stock is None or ours is None:
        return ""
    stock, ours = (Series(tuple(v * scale for v in s.values), s.failure) for s in (stock, ours))
    ratio, wish, is_met = judge(target, stock, ours)
    cells = [
        target.row,
        f"{stock.write()}" + ("" if stock.failure else f" {unit}"),
        f"{ours.write()}" + ("" if ours.failure else f" {unit}"),
        ratio,
        wish,
        "yes" if is_met else "**no**",
    ]
    if target.measure == "growth":
        cells[1] = f"ours, 100 cells: {cells[1]}"
    return "| " + " | ".join(cells) + " |"


def judge(target: Target, stock: Series, ours: Series) -> tuple[str, str, bool]:
    """Compare two sides.

    Args:
        target: What is asked for.
        stock: The other side.
        ours: Our side.

    Returns:
        The ratio with its spread over pairs measured one after the other, what is asked for, and
        whether our median reaches it.
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
        return f"{Series(ratios).write()}x", f"at least {limit:g}x", median(ratios) >= limit
    ratios = pair(ours.values, stock.values)
    wish = f"at most 1/{1 / limit:g}" if target.measure == "memory share" else f"at most {limit:g}"
    return f"{Series(ratios).write()}", wish, median(ratios) <= limit


def pair(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    """Divide measurements that were made one after the other."""
    number = min(len(above), len(below))
    return tuple(a / max(b, 1e-9) for a, b in zip(above[:number], below[:number], strict=True))


def _write_curves(raw: Raw, plan: Plan) -> str:
    """Write the medians behind the plot."""
    lines = [
        "| work | cells | stock | ours | stock, added MB | ours, added MB |",
        "|---|---|---|---|---|---|",
    ]
    for title, comparisons in CURVES.items():
        for comparison in map(plan, comparisons):
            columns = [
                _write_median(read_series(raw, comparison.key(side), field), scale, unit)
                for field, scale, unit in (("seconds", 1.0, " s"), ("added_gb", 1000.0, ""))
                for side in ("stock", "ours")
            ]
            lines.append(f"| {title} | {comparison.cells} | " + " | ".join(columns) + " |")
    return "\n".join(lines)


def _write_notes(raw: Raw, plan: Plan) -> str:
    """Write what the table has no line for: the memory order's part in a training step."""
    lines = []
    for comparison in map(plan, GROUPS["step-r18"][:1]):
        orders = [read_series(raw, comparison.key(side), "seconds") for side in ORDERS]
        if all(series is not None and series.values for series in orders):
            chosen, other = (series.write() for series in orders)
            lines.append(
                f"`ChannelsLastHook` keeps the faster memory order of convolutions: {chosen} s an "
                f"image of a training step on this machine, and {other} s in the other order.\n"
            )
    return "\n".join(lines)


def _write_median(series: Series | None, scale: float, unit: str) -> str:
    """Write the median of a series, why there is none, or nothing."""
    if series is None:
        return ""
    return series.failure or f"{_write(median(series.values) * scale, 3)}{unit}"


def _write(value: float, digits: int) -> str:
    """Write a number with so many significant digits, without an exponent."""
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    return (
        f"{float(text):g}"
        if "e" not in text
        else f"{float(text):.0f}"
        if value >= 1
        else f"{value:.5f}"
    )


TEXT = """# Dense images at the price of the network

Written by `python benchmarks/dense_images.py`; every single measurement stands in
[benchmarks.json](benchmarks.json). Stock is MMDetection itself: the same configs with its own parts
swapped in (`benchmarks/dense/stock.py`). Images are drawn, 1024 x 1024 pixels unless said.

{table}

Medians of the measurements with their range in brackets. Each measurement is made in a fresh
process under a limit of 20 GB, both sides in turn; a ratio's range is over the pairs made one after
the other. Pipeline, RPN targets and mask targets are timed on their second run, as in a training
that goes on. Memory is resident memory in 1e9 bytes: *added* is the peak during the first run less
what was resident before it. Threads wait without spinning on both sides
(`OMP_WAIT_POLICY=PASSIVE`), which makes small parallel operations many times faster where other
processes run. Our training steps keep freed memory, as `KeepMemoryHook` does in a training.

{notes}
Measured:

{measured}

## Against the number of cells

![Time and memory against cells](images/benchmarks.png)

{curves}
"""
