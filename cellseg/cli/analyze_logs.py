"""Plot training logs, and tabulate training times.

cellseg analyze-logs plot_curve work_dirs/a work_dirs/b --out curves.png
cellseg analyze-logs plot_curve work_dirs/a --keys loss_mask acc --smooth 0.9
cellseg analyze-logs plot_curve work_dirs/r*_seed* --group --out seeds.svg
cellseg analyze-logs cal_train_time work_dirs/a
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.defaults import DEFAULT_KEYS, SEED_PATTERN

_RUNS_HELP = "work dirs (joined across resumes) or JSON logs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two tasks and their flags."""
    tasks = parser.add_subparsers(dest="task", required=True)
    plot = tasks.add_parser("plot_curve", help="draw loss and AP curves of one or more runs")
    plot.add_argument("runs", nargs="+", type=Path, help=_RUNS_HELP)
    plot.add_argument("--keys", nargs="+", default=list(DEFAULT_KEYS), help="what to draw")
    plot.add_argument("--out", type=Path, help="PNG, SVG or PDF (default: curves.png in the run)")
    plot.add_argument("--legend", nargs="+", help="a name for each run (default: its folder's)")
    plot.add_argument("--title", help="title of the figure")
    plot.add_argument(
        "--smooth",
        type=float,
        default=0.0,
        help="weight of smoothing, 0 to below 1",
    )
    plot.add_argument(
        "--axis",
        choices=("iter", "epoch", "minutes"),
        default="iter",
        help="horizontal axis (default: iter)",
    )
    plot.add_argument(
        "--group",
        nargs="?",
        const=SEED_PATTERN,
        metavar="PATTERN",
        help="mean and spread of runs whose names differ only in what this regular expression "
        f"finds (default when given alone: {SEED_PATTERN.replace('%', '%%')})",
    )
    times = tasks.add_parser("cal_train_time", help="tabulate the times of the epochs")
    times.add_argument("runs", nargs="+", type=Path, help=_RUNS_HELP)
    times.add_argument(
        "--include-outliers", action="store_true", help="count the first record of each epoch too"
    )


def main(args: argparse.Namespace) -> None:
    """Draw or tabulate."""
    from cellseg.cli.tasks import analyze_logs

    analyze_logs.run(args)
