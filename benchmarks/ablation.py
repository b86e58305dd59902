"""Train with and without each choice of the dsb2018 recipe, and write the table.

python benchmarks/ablation.py --data-root data/dsb2018 --hw3-root data/train
python benchmarks/ablation.py --rows small-anchor default-anchor --seeds 0 --iterations 200

Rows already done are read, a row cut off goes on where it stopped. Writes docs/ablation.md,
docs/images/ablation.png, and config and log of each run to docs/ablation/.
"""

import argparse
import json
from pathlib import Path

from dense.report import describe_machine
from recipes.anchors import measure_dsb2018, measure_hw3, read_rows, write_rows
from recipes.plan import ROW_NAMES, TEST_ROWS, TRAIN_ROWS, TrainRow
from recipes.report import Outcome, draw_outcomes, keep_records, write_report
from recipes.runs import Place, judge, train

from cellseg.engine.run_config import run_tool
from cellseg.visualization.curves import save_figure

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Ablation of the dsb2018 recipe.")
    parser.add_argument("--rows", nargs="+", choices=ROW_NAMES, default=ROW_NAMES)
    parser.add_argument("--seeds", nargs="+", type=int, help="only these (default: each row's own)")
    parser.add_argument("--iterations", type=int, default=400, help="steps of each training")
    parser.add_argument("--data-root", type=Path, default=ROOT / "data" / "dsb2018")
    parser.add_argument("--hw3-root", type=Path, help="folder of hw3 images for anchor-recall")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs" / "ablation")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the report")
    parser.add_argument("--report-only", action="store_true", help="write what is done so far")
    return parser.parse_args()


def run_rows(args: argparse.Namespace, place: Place) -> None:
    """Train and test what is asked for and not done; the table is written after each run."""
    plan = {row.name: row for row in TRAIN_ROWS}
    for row in (*TRAIN_ROWS, *TEST_ROWS):
        if row.name not in args.rows:
            continue
        source = row if isinstance(row, TrainRow) else plan[row.of]
        for seed in source.seeds:
            if args.seeds is None or seed in args.seeds:
                train(source, seed, place)
                scores = judge(row, source.name, seed, place)
                print(row.name, f"seed {seed}", *(f"{k} {v:.3f}" for k, v in scores.items()))
                report(args, place)


def read_outcomes(place: Place) -> list[Outcome]:
    """Read what is done so far."""
    plan = {row.name: row for row in TRAIN_ROWS}
    outcomes = []
    for row in (*TRAIN_ROWS, *TEST_ROWS):
        source = row if isinstance(row, TrainRow) else plan[row.of]
        scores, seconds = {}, {}
        for seed in source.seeds:
            path = place.score_file(row.name, source.name, seed)
            if path.exists():
                scores[seed] = json.loads(path.read_text())
                times = place.run(source.name, seed) / "seconds.json"
                trained = row is source and times.exists()
                seconds[seed] = sum(json.loads(times.read_text())) if trained else 0
        if scores:
            outcomes.append(Outcome(row.name, row.meaning, scores, seconds))
    return outcomes


def report(args: argparse.Namespace, place: Place) -> str:
    """Write the table, the figure, and each run's config and log."""
    outcomes = read_outcomes(place)
    save_figure(draw_outcomes(outcomes), args.out / "images" / "ablation.png")
    for row in TRAIN_ROWS:
        for seed in row.seeds:
            if place.score_file(row.name, row.name, seed).exists():
                config, run = place.config_file(row.name, seed), place.run(row.name, seed)
                keep_records(args.out / "ablation", config, run)
    path = args.out / "ablation.md"
    anchors = read_rows(args.work_dir / "anchor-recall.json")
    return write_report(path, outcomes, anchors, place.iterations, describe_machine())


def main() -> None:
    """Run the rows and write the report."""
    args = parse_args()
    folder = args.work_dir.resolve() / f"{args.iterations}-iterations"
    place = Place(folder, args.data_root.resolve(), args.iterations)
    if not args.report_only:
        run_rows(args, place)
    if "anchor-recall" in args.rows and not args.report_only:
        rows = measure_dsb2018(args.data_root)
        rows += measure_hw3(args.hw3_root) if args.hw3_root else []
        write_rows(args.work_dir / "anchor-recall.json", rows)
    print(report(args, place))


if __name__ == "__main__":
    run_tool(main)
