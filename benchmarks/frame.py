"""What all benchmarks share: flags, the machine, medians with their spread, tables and pages."""

import json
import multiprocessing
import os
import platform
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from cellseg.cores import count_cores
from cellseg.fileio import write_atomically

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs" / "cell"
BASES = ROOT / "configs" / "_base_"
DEMO_CONFIG = CONFIGS / "mask-rcnn_r18_small-anchor_demo.py"
DRAWN = ROOT / "work_dirs" / "benchmarks"  # drawn images, kept between runs
PACKAGES = ("torch", "onedl-mmdetection", "onedl-mmcv", "numpy", "pycocotools", "faster-coco-eval")
Raw = dict[str, dict[str, Any]]
Result = TypeVar("Result")


def make_parser(doc: str | None, quick: str) -> ArgumentParser:
    """Make a command line with the flags that every benchmark has.

    Args:
        doc: The benchmark's docstring; its first line is the description.
        quick: What `--quick` does.
    """
    parser = ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{quick}, written elsewhere")
    parser.add_argument("--out", type=Path, help="page or folder to write to; default docs")
    return parser


def find_page(args: Namespace, name: str) -> Path:
    """Return the path of a page: `--out`, or a place below work_dirs with `--quick`, or docs."""
    default = ROOT / "work_dirs" / "benchmarks_quick" if args.quick else ROOT / "docs"
    out: Path = args.out or default
    return out if out.suffix == ".md" else out / f"{name}.md"


def write_page(
    path: Path, title: str, command: str, body: str, setting: str = "", raw: Raw | None = None
) -> str:
    """Write a page with its title, the command that wrote it, date and machine.

    Args:
        path: The file.
        title: The heading.
        command: File name of the benchmark.
        body: The page below its first paragraph.
        setting: What was measured, for the first paragraph.
        raw: The measurements, if they are kept in a JSON file beside the page; they have dates and
            machines of their own.

    Returns:
        The page.
    """
    if raw is None:
        day = f"{date.today().isoformat()}{': ' if setting else ''}{setting}"
        source = f", {day}. {describe_machine()}."
    else:
        name = path.with_suffix(".json").name
        source = f" from [{name}]({name}), measured on\n\n{list_machines(raw)}"
    page = f"# {title}\n\nWritten by `python benchmarks/{command}`{source}\n\n{body}"
    write_atomically(path, page)
    return page


def write_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a Markdown table."""
    return "\n".join([write_row(head), "|---" * len(head) + "|", *map(write_row, rows)])


def write_row(cells: Sequence[object]) -> str:
    """Write one row of a Markdown table."""
    return "|" + "|".join(f" {cell} " if cell != "" else " " for cell in cells) + "|"


def is_met(met: bool) -> str:
    """Write whether a target is met, for a table."""
    return "yes" if met else "**no**"


def significant(value: float) -> str:
    """Write a number with three significant digits, without an exponent."""
    text = f"{value:.3g}"
    if value == 0 or "e" not in text:
        return f"{float(text):g}"
    return f"{float(text):.0f}" if value >= 1 else f"{value:.5f}"


def spread(values: Sequence[float], write: Callable[[float], str] = significant) -> str:
    """Write the median with the smallest and largest value, such as `2 [1 - 4]`."""
    low, middle, high = map(write, (min(values), median(values), max(values)))
    return f"{middle} [{low} - {high}]"


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


def read_raw(page: Path) -> Raw:
    """Read the measurements in the JSON file beside a page; empty if there is none."""
    path = page.with_suffix(".json")
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def write_raw(page: Path, raw: Raw) -> None:
    """Write all measurements to the JSON file beside a page."""
    write_atomically(page.with_suffix(".json"), json.dumps(raw, indent=1) + "\n")


def stamp() -> dict[str, str]:
    """Return date and machine, to keep with measurements."""
    return {"date": date.today().isoformat(), "machine": describe_machine()}


def list_machines(raw: Raw) -> str:
    """List when, on which machine and, where noted, with which setting was measured."""
    notes = {(case["date"], case["machine"], case.get("setting", "")) for case in raw.values()}
    return (
        "\n".join(
            f"* {day}: {machine}{f'. {setting}.' if setting else ''}"
            for day, machine, setting in sorted(notes)
        )
        or "* nothing yet"
    )


def run_apart(function: Callable[..., Result], *args: object) -> Result:
    """Run a function in a fresh process, so that memory is its own; returns the result."""
    from cellseg.engine.process_group import set_thread_counts  # imports torch

    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, set_thread_counts) as pool:
        return pool.submit(function, *args).result()


def wait_passively() -> None:
    """Let the threads of child processes wait without spinning, which slows a busy machine."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def find_demo_checkpoint() -> Path:
    """Return the best checkpoint of `make demo`.

    Raises:
        SystemExit: If there is none.
    """
    found = sorted((ROOT / "work_dirs" / "demo").glob("best_*.pth"))
    if not found:
        raise SystemExit("There is no work_dirs/demo/best_*.pth; run make demo, or name a file.")
    return found[-1]
