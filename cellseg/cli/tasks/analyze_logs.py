"""Read the logs of runs, and draw or tabulate them."""

import argparse
from pathlib import Path

from cellseg.analysis.curves import (
    plot_runs,
    save_figure,
    tabulate_times,
)
from cellseg.analysis.training_logs import TrainingRun, read_run
from cellseg.cli.running import write_result
from cellseg.errors import as_cellseg_error


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


def run(args: argparse.Namespace) -> None:
    """Draw or tabulate, as the task says."""
    with as_cellseg_error((OSError, ValueError)):
        if args.task == "cal_train_time":
            for run in read_runs(args.runs):
                write_result(tabulate_times(run, args.include_outliers))
            return
        runs = read_runs(args.runs, args.legend)
        figure = plot_runs(runs, args.keys, args.smooth, args.axis, args.group, args.title)
        first = args.runs[0] if args.runs[0].is_dir() else args.runs[0].parent
        write_result(f"Drew {save_figure(figure, args.out or first / 'curves.png')}")
