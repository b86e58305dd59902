"""Draw what training logged, and tabulate how long it took.

python tools/analysis_tools/analyze_logs.py plot_curve work_dirs/a work_dirs/b --out curves.png
python tools/analysis_tools/analyze_logs.py plot_curve work_dirs/a --keys loss_mask acc --smooth 0.9
python tools/analysis_tools/analyze_logs.py plot_curve work_dirs/r*_seed* --group --out seeds.svg
python tools/analysis_tools/analyze_logs.py cal_train_time work_dirs/a
"""

import argparse
import sys
from pathlib import Path

from cellseg.visualization.curves import (
    DEFAULT_KEYS,
    SEED_PATTERN,
    plot_runs,
    save_figure,
    tabulate_times,
)
from cellseg.visualization.training_logs import TrainingRun, read_run

RUNS_HELP = "work dirs (joined across resumes) or JSON logs"


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Analyse the logs of training.")
    tasks = parser.add_subparsers(dest="task", required=True)
    plot = tasks.add_parser("plot_curve", help="draw loss and AP curves of one or more runs")
    plot.add_argument("runs", nargs="+", type=Path, help=RUNS_HELP)
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
    plot.add_argument("--axis", choices=("iter", "epoch"), default="iter", help="horizontal axis")
    plot.add_argument(
        "--group",
        nargs="?",
        const=SEED_PATTERN,
        metavar="PATTERN",
        help="mean and spread of runs whose names differ only in what this regular expression "
        f"finds (default when given alone: {SEED_PATTERN.replace('%', '%%')})",
    )
    times = tasks.add_parser("cal_train_time", help="tabulate the times of the epochs")
    times.add_argument("runs", nargs="+", type=Path, help=RUNS_HELP)
    times.add_argument(
        "--include-outliers", action="store_true", help="count the first record of each epoch too"
    )
    return parser.parse_args()


def read_runs(paths: list[Path], names: list[str] | None = None) -> list[TrainingRun]:
    """Read runs and name them; runs of the same name are told apart by their paths."""
    if names is not None and len(names) != len(paths):
        raise ValueError(f"--legend gives {len(names)} names for {len(paths)} runs.")
    runs = [read_run(path, names[i] if names else None) for i, path in enumerate(paths)]
    taken = [run.name for run in runs]
    return [
        read_run(path, str(path)) if names is None and taken.count(run.name) > 1 else run
        for path, run in zip(paths, runs, strict=True)
    ]


def main() -> None:
    """Run the tool."""
    args = parse_args()
    try:
        if args.task == "cal_train_time":
            for run in read_runs(args.runs):
                print(tabulate_times(run, args.include_outliers))
            return
        runs = read_runs(args.runs, args.legend)
        figure = plot_runs(runs, args.keys, args.smooth, args.axis, args.group, args.title)
        first = args.runs[0] if args.runs[0].is_dir() else args.runs[0].parent
        print(f"Drew {save_figure(figure, args.out or first / 'curves.png')}")
    except (OSError, ValueError) as error:
        sys.exit(f"analyze_logs.py: {error}")


if __name__ == "__main__":
    main()
