"""Measure how well Dask's workers are kept busy, and what a long list of images costs.

    python benchmarks/cohort.py                          # an hour on 2 cores
    python benchmarks/cohort.py --parts cohort --small 500 --large 8000
    python benchmarks/cohort.py --parts kills --slurm debug    # also jobs of this partition
    python benchmarks/cohort.py --quick                  # minutes, to see that it runs

Four parts, each with real processes on this machine:

waiting   Units that wait for a second in place of predicting, so that cores are not the limit:
          the share of the time in which 1, 2, 4 and 8 workers are busy; at least 95% at 8.
memory    Memory of client and scheduler, which share a process, at up to 100,000 images.
cohort    Drawn images and a large one on two workers against two independent processes: at most
          5% slower.
kills     Random kills of workers, clients and SLURM jobs while a cohort is predicted: the outputs
          must be those of one process.

Writes docs/cohort.md and the raw numbers as JSON; earlier measurements are kept.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cohort_parts.kills import measure_kills
from cohort_parts.predicting import draw_cohort, measure_cohort
from cohort_parts.report import LARGE_KILLED_PX, SMALL_KILLED, are_targets_met, write_report
from cohort_parts.waiting import measure_memory, measure_waiting
from frame import find_page, make_parser, read_raw, stamp, write_raw

PARTS = ("waiting", "memory", "cohort", "kills")
Case = tuple[str, Callable[[], dict[str, Any]], dict[str, Any]]


def main() -> int:
    """Measure the chosen parts and write the page after each; 1 if a target is missed."""
    args = parse_args()
    page = find_page(args, "cohort")
    raw = read_raw(page)
    for name, measure, inputs in [] if args.report_only else list_cases(args):
        raw[name] = {**inputs, **measure(), "setting": args.setting, **stamp()}
        print(name, raw[name], flush=True)
        write_raw(page, raw)
        write_report(raw, page)
    write_report(raw, page)
    return 0 if are_targets_met(raw) else 1


def parse_args() -> Namespace:
    """Parse the command line."""
    parser = make_parser(__doc__, "fewer and shorter units")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--units", type=int, default=20, help="units of a second per worker")
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--small", type=int, default=2000, help="drawn images of the cohort")
    parser.add_argument("--large", type=int, default=20_000, help="side of the large image in px")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--slurm", metavar="PARTITION", help="also cancel jobs of a SLURM")
    parser.add_argument("--setting", default="", help="what else ran on the machine, for the page")
    parser.add_argument("--report-only", action="store_true", help="write from the raw numbers")
    args = parser.parse_args()
    if args.quick:
        args.workers, args.units, args.images = [1, 2], 3, [50, 200]
        args.small, args.large, args.kills = 4, 1200, 2
    return args


def list_cases(args: Namespace) -> Iterator[Case]:
    """List what is to be measured: a name, how, and with which inputs."""
    if "waiting" in args.parts:
        seconds = 0.2 if args.quick else 1.0
        for workers in args.workers:
            inputs = {"workers": workers, "units": args.units, "unit_s": seconds}
            yield f"waiting {workers}", _bind(measure_waiting, workers, args.units, seconds), inputs
    if "memory" in args.parts:
        for images in args.images:
            yield f"memory {images}", _bind(measure_memory, images), {"images": images}
    if "cohort" in args.parts:
        inputs = {"small": args.small, "large_px": args.large}
        yield "cohort", lambda: _with_images(measure_cohort, args.small, args.large), inputs
    if "kills" in args.parts:
        inputs = {"small": SMALL_KILLED, "large_px": LARGE_KILLED_PX}
        if args.quick:
            inputs = {"small": args.small, "large_px": args.large}
        kills = _bind(_with_images, measure_kills, *inputs.values(), args.kills, args.slurm)
        yield "kills", kills, inputs


def _bind(work: Callable[..., dict[str, Any]], *values: Any) -> Callable[[], dict[str, Any]]:
    """Return a work that needs nothing more."""
    return lambda: work(*values)


def _with_images(
    work: Callable[..., dict[str, Any]], small: int, large_px: int, *more: Any
) -> dict[str, Any]:
    """Draw images, and measure a work on them in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        draw_cohort(Path(name) / "images", small, large_px)
        return work(Path(name) / "images", Path(name), *more)


if __name__ == "__main__":
    sys.exit(main())
