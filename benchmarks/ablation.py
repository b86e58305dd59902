"""Train with and without each choice of the dsb2018 recipe, and write the table.

python benchmarks/ablation.py --data-root data/dsb2018
python benchmarks/ablation.py --data-root data/dsb2018 --jobs 2    # two trainings side by side
python benchmarks/ablation.py --rows small-anchor default-anchor --seeds 0 --iterations 200

Finished rows are read, an interrupted row resumes. `--quick` trains the baseline for two steps.
Writes docs/ablation.md, where the text below its last line, written by hand, stays,
docs/images/ablation.png and ablation_curves.png, and changes, scores and curves of each run to
docs/ablation/runs.json.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from frame import ROOT, find_page, make_parser
from recipes.plan import BASELINE, ROW_NAMES, TEST_ROWS, TRAIN_ROWS, TestRow, TrainRow
from recipes.report import (
    Outcome,
    describe_run,
    draw_outcomes,
    read_runs,
    write_report,
    write_runs,
)
from recipes.runs import Place, prepare, prepare_test, read_starts, score, train

from cellseg.analysis.curves import SEED_PATTERN, plot_runs, save_figure
from cellseg.cli.running import call
from cellseg.cores import count_cores
from cellseg.engine.child_processes import ChildProcesses
from cellseg.errors import CellsegError


@dataclass(frozen=True)
class Job:
    """A training with one seed, and the rows that test it."""

    source: TrainRow
    seed: int
    rows: tuple[TrainRow | TestRow, ...]

    def run(self, place: Place, children: ChildProcesses) -> list[str]:
        """Train and test what is not done; return a line for each row."""
        train(self.source, self.seed, place, children.run)
        lines = []
        for row in self.rows:
            scores = score(row, self.source.name, self.seed, place, children.run)
            figures = " ".join(f"{key} {value:.3f}" for key, value in scores.items())
            lines.append(f"{row.name} seed {self.seed} {figures}")
        return lines


def parse_args() -> Namespace:
    """Parse the command line."""
    parser = make_parser(__doc__, "two steps of the baseline with one seed")
    parser.add_argument("--rows", nargs="+", choices=ROW_NAMES, default=ROW_NAMES)
    parser.add_argument("--seeds", nargs="+", type=int, help="only these (default: each row's own)")
    parser.add_argument("--iterations", type=int, default=400, help="steps of each training")
    parser.add_argument("--data-root", type=Path, default=ROOT / "data" / "dsb2018")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs" / "ablation")
    parser.add_argument(
        "--jobs", type=int, default=1, help="trainings at the same time, sharing the cores"
    )
    parser.add_argument("--report-only", action="store_true", help="write what is done so far")
    args = parser.parse_args()
    if args.quick:
        args.rows, args.seeds, args.iterations = [BASELINE], [0], 2
    if args.jobs < 1 or args.iterations < 1:
        raise CellsegError("--jobs and --iterations must be at least 1.")
    return args


def plan_jobs(names: list[str], seeds: list[int] | None) -> list[Job]:
    """List each training that the rows need once, the first seed of every row before the second."""
    jobs = []
    for source in TRAIN_ROWS:
        own = [row for row in TEST_ROWS if row.of == source.name]
        rows = tuple(row for row in (source, *own) if row.name in names)
        for seed in source.seeds:
            if rows and (seeds is None or seed in seeds):
                jobs.append(Job(source, seed, rows))
    return sorted(jobs, key=lambda job: job.seed)


def run_jobs(args: Namespace, place: Place) -> None:
    """Train and test what is asked for and not done; the table is written after each training.

    Raises:
        CellsegError: If a training or test failed; the others were run all the same.
    """
    jobs = plan_jobs(args.rows, args.seeds)
    if not jobs:
        raise CellsegError(f"No row of {', '.join(args.rows)} has a seed of {args.seeds}.")
    for job in jobs:
        prepare(job.source, job.seed, place)
        for row in job.rows:
            prepare_test(row, job.source.name, job.seed, place)
    failures = []
    with ThreadPoolExecutor(args.jobs) as pool, ChildProcesses(place.threads) as children:
        try:
            for future in as_completed([pool.submit(job.run, place, children) for job in jobs]):
                error = future.exception()
                if isinstance(error, CellsegError):
                    failures.append(str(error))
                else:
                    print(*future.result(), sep="\n", flush=True)
                report(args, place)
        except BaseException:  # interrupted: start nothing more
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if failures:
        raise CellsegError("\n".join(failures))


def list_rows() -> Iterator[tuple[TrainRow | TestRow, TrainRow, int]]:
    """List every row with its training row and each seed."""
    plan = {row.name: row for row in TRAIN_ROWS}
    for row in (*TRAIN_ROWS, *TEST_ROWS):
        source = row if isinstance(row, TrainRow) else plan[row.of]
        for seed in source.seeds:
            yield row, source, seed


def read_outcomes(place: Place) -> list[Outcome]:
    """Read what is done so far."""
    outcomes: dict[str, Outcome] = {}
    for row, source, seed in list_rows():
        path = place.score_file(row.name, source.name, seed)
        if path.exists():
            outcome = outcomes.setdefault(row.name, Outcome(row.name, row.meaning, {}, {}))
            outcome.scores[seed] = json.loads(path.read_text("utf-8"))
            starts = read_starts(place.run(source.name, seed)) if row is source else []
            outcome.starts[seed] = starts
    return list(outcomes.values())


def report(args: Namespace, place: Place) -> str:
    """Write the page, the figures, and what is kept of each run."""
    outcomes = read_outcomes(place)
    page = find_page(args, "ablation")
    out = page.parent
    save_figure(draw_outcomes(outcomes), out / "images" / "ablation.png")
    kept, trained = [], []
    for row, source, seed in list_rows():
        if not place.score_file(row.name, source.name, seed).exists():
            continue
        kept.append(describe_run(row, source, seed, place))
        if row is source:
            trained.append(place.run(row.name, seed))
    write_runs(out / "ablation" / "runs.json", kept)
    runs = read_runs(trained)
    if runs:
        figure = plot_runs(runs, weight=0.8, group_pattern=SEED_PATTERN)
        save_figure(figure, out / "images" / "ablation_curves.png")
    return write_report(page, outcomes, place)


def main() -> None:
    """Run the rows and write the report."""
    args = parse_args()
    folder = args.work_dir.resolve() / f"{args.iterations}-iterations"
    threads = max(1, count_cores() // args.jobs) if args.jobs > 1 else None
    place = Place(folder, args.data_root.resolve(), args.iterations, threads=threads)
    if not args.report_only:
        run_jobs(args, place)
    print(report(args, place))


if __name__ == "__main__":
    sys.exit(call(main))
