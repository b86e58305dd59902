"""Train and evaluate the rows of docs/results.md and docs/ablation.md on real cells.

python benchmarks/results.py                            # all that is not done, in the plan's order
python benchmarks/results.py --only recipe              # a group, or rows by name
python benchmarks/results.py --only lite0 --seeds 0
python benchmarks/results.py --evaluate ROW WORK_FOLDER    # a training from elsewhere, as the row
python benchmarks/results.py --report-only              # write the pages again

Run it where data/ holds consep, monuseg and dsb2018, as the configs name them. Runs in the JSON
files beside the pages are done; others are read from --work-dir, or resume there. Each run is
written down as soon as it is evaluated, on test images only once. `--quick` trains two steps and
evaluates one fold. The rows are in benchmarks/recipes/plan.py. The pages' text below their last
line, written by hand, stays.
"""

import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from frame import ROOT, Raw, find_page, make_parser, read_raw, write_raw
from recipes.evaluating import (
    Entry,
    check_training,
    describe_run,
    describe_training,
    find_training,
)
from recipes.plan import GROUPS, LITE, ROWS, Row, TrainRow, source_of
from recipes.report import TITLES, write_report
from recipes.runs import Training, name_run, prepare, run_test, train

from cellseg.cli.running import call
from cellseg.engine.child_processes import ChildProcesses
from cellseg.errors import CellsegError


@dataclass(frozen=True)
class RowTraining:
    """A training, and the rows that test it."""

    training: Training
    rows: tuple[Row, ...]

    def run(self, children: ChildProcesses, checkpoint: Path | None = None) -> dict[str, Entry]:
        """Train, unless a checkpoint is given, and test; returns what is kept of each run."""
        training, runs = self.training, {}
        prepare(training)
        checkpoint = checkpoint or train(training, children.run)
        for row in self.rows:
            folder = run_test(row, training, checkpoint, children.run)
            name = name_run(row, training.seed, training.fold)
            runs[name] = describe_run(row, training, checkpoint, folder)
        return runs


def parse_args() -> Namespace:
    """Parse the command line."""
    parser = make_parser(__doc__, "two steps of one row, evaluated on a fold")
    names = [*(group.name for group in GROUPS), *ROWS]
    parser.add_argument("--only", nargs="+", metavar="NAME", help="groups and rows (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, help="only these (default: each row's own)")
    parser.add_argument("--steps", type=int, help="of each training (default: each row's own)")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs" / "results")
    parser.add_argument(
        "--evaluate",
        nargs=2,
        metavar=("ROW", "PATH"),
        help="evaluate the last checkpoint of a work folder, or a checkpoint in it, as this row",
    )
    parser.add_argument("--report-only", action="store_true", help="write what is done so far")
    args = parser.parse_args()
    unknown = {*(args.only or ()), *(args.evaluate or ())[:1]} - set(names)
    if unknown:
        raise CellsegError(f"There is no row {', '.join(unknown)}; rows are {', '.join(names)}.")
    if args.quick:
        args.only, args.seeds, args.steps = args.only or [LITE.name], [0], 2
    if args.steps is not None and args.steps < 1:
        raise CellsegError("--steps must be at least 1.")
    return args


def plan_jobs(args: Namespace, done: Raw) -> list[RowTraining]:
    """List each training that rows need which are not done; of a group, the first seeds first."""
    jobs: dict[str, RowTraining] = {}
    for group in GROUPS:
        arms = [
            (seed, row, fold)
            for row in group.rows
            if args.only is None or {row.name, group.name} & {*args.only}
            for seed in source_of(row).seeds
            for fold in source_of(row).folds
            if args.seeds is None or seed in args.seeds
        ]
        for seed, row, fold in sorted(arms, key=lambda arm: arm[0]):
            entry = done.get(name_run(row, seed, fold))
            is_final = source_of(row).evaluated == "test"  # once, whatever the steps
            if entry is not None and (is_final or args.steps in (None, entry["steps"])):
                continue
            steps = args.steps or source_of(row).steps
            training = Training(source_of(row), seed, fold, steps, args.work_dir.resolve())
            job = jobs.get(training.name, RowTraining(training, ()))
            rows = job.rows if row in job.rows else (*job.rows, row)
            jobs[training.name] = RowTraining(training, rows)
    return list(jobs.values())


def run_jobs(args: Namespace, jobs: list[RowTraining]) -> None:
    """Train and test what is not done; the pages are written after each training.

    Raises:
        CellsegError: If a training or test failed; the others were run all the same.
    """
    failures = []
    with ChildProcesses() as children:
        for job in jobs:
            try:
                keep(args, job.run(children))
            except CellsegError as error:
                failures.append(str(error))
    if failures:
        raise CellsegError("\n".join(failures))


def evaluate(args: Namespace) -> None:
    """Evaluate a training from elsewhere as a row."""
    name, path = args.evaluate
    row = ROWS[name]
    if not isinstance(row, TrainRow) or len(row.folds) > 1:
        raise CellsegError(f"--evaluate takes a row of one training; {name} is none.")
    checkpoint, config = find_training(Path(path))
    seed = describe_training(checkpoint)["seed"]
    if name_run(row, seed, row.folds[0]) in read_raw(find_page(args, page_of(name))):
        raise CellsegError(f"{name} with seed {seed} is evaluated already, and that stands.")
    training = Training(row, seed, row.folds[0], row.steps, args.work_dir.resolve() / "evaluated")
    check_training(config, training)
    with ChildProcesses() as children:
        keep(args, RowTraining(training, (row,)).run(children, checkpoint))


def keep(args: Namespace, runs: dict[str, Entry]) -> None:
    """Write runs into the JSON file of their page, and the page again."""
    for name, entry in runs.items():
        print(name, {key: round(value, 3) for key, value in entry["scores"].items()}, flush=True)
        page = find_page(args, page_of(entry["row"]))
        write_raw(page, read_raw(page) | {name: entry})
    report(args)


def page_of(row: str) -> str:
    """Return the page that a row stands on."""
    return next(group.page for group in GROUPS if ROWS[row] in group.rows)


def report(args: Namespace) -> None:
    """Write the pages and their pictures."""
    for page in TITLES:
        path = find_page(args, page)
        write_raw(path, read_raw(path))
        write_report(page, path, read_raw(path))


def main() -> None:
    """Run the rows and write the report."""
    args = parse_args()
    if args.evaluate:
        evaluate(args)
    elif not args.report_only:
        done: Raw = {}
        for page in TITLES:
            done |= read_raw(find_page(args, page))
        jobs = plan_jobs(args, done)
        print(f"{len(jobs)} trainings to do", flush=True)
        run_jobs(args, jobs)
    report(args)


if __name__ == "__main__":
    sys.exit(call(main))
