"""Measure dense images side by side: MMDetection's own parts and this project's.

python benchmarks/dense_images.py              # everything: half an hour on 2 cores
python benchmarks/dense_images.py --rows pipeline rpn-targets --repeats 5
python benchmarks/dense_images.py --quick      # a minute, to see that it runs

Writes docs/benchmarks.md (table), docs/images/benchmarks.png (time and memory against cells) and
docs/benchmarks.json (every single measurement). Rows measured before are kept.
"""

import argparse
import json
import os
from datetime import date
from pathlib import Path

from dense.measuring import Case, Measurement, measure
from dense.plan import GROUPS, Comparison, shrink
from dense.plot import draw_curves
from dense.report import as_planned, describe_machine, write_report
from dense.scenes import Scene

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Measure dense images side by side.")
    parser.add_argument("--rows", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--repeats", type=int, default=5, help="measurements a side (curves: 3)")
    parser.add_argument("--quick", action="store_true", help="small scenes, once each")
    parser.add_argument("--memory-limit-gb", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--out", type=Path, help="folder of the report; default docs")
    parser.add_argument(
        "--drawn", type=Path, default=ROOT / "work_dirs" / "benchmarks", help="drawn images"
    )
    parser.add_argument("--report-only", action="store_true", help="write from the raw numbers")
    return parser.parse_args()


def main() -> None:
    """Measure the chosen rows one after another, and write the report after each."""
    args = parse_args()
    # For all children: a thread that spins at a barrier keeps a busy machine from its work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    out = args.out or ROOT / ("work_dirs/benchmarks_quick" if args.quick else "docs")
    plan = shrink if args.quick else as_planned
    raw_path = out / "benchmarks.json"
    raw = json.loads(raw_path.read_text("utf-8")) if raw_path.exists() else {}
    for name in () if args.report_only else args.rows:
        for comparison in GROUPS[name]:
            planned = plan(comparison)
            repeats = 1 if args.quick else min(args.repeats, planned.max_repeats)
            raw |= _measure_comparison(planned, repeats, args)
            out.mkdir(parents=True, exist_ok=True)
            raw_path.write_text(json.dumps(raw, indent=1) + "\n", "utf-8")
    report = write_report(raw, out / "benchmarks.md", plan)
    draw_curves(raw, out / "images" / "benchmarks.png", plan)
    print(report)


def _measure_comparison(
    comparison: Comparison, repeats: int, args: argparse.Namespace
) -> dict[str, dict]:
    """Measure all sides in turn, in alternating order; a side that failed is not tried again."""
    scene = Scene(comparison.cells, comparison.size_px, comparison.images, args.drawn)
    cases = [Case(comparison.work, side, scene, args.memory_limit_gb) for side in comparison.sides]
    results: dict[str, list[Measurement]] = {case.key: [] for case in cases}
    for repeat in range(repeats):
        for case in cases[:: -1 if repeat % 2 else 1]:
            done = results[case.key]
            if done and done[-1].failure:
                continue
            done.append(measure(case))
            print(f"{case.key} {repeat + 1}/{repeats}: {_describe(done[-1])}", flush=True)
    about = {"date": date.today().isoformat(), "machine": describe_machine()}
    return {
        key: {**about, "measurements": [measurement.as_dict() for measurement in done]}
        for key, done in results.items()
    }


def _describe(measurement: Measurement) -> str:
    """Write one measurement in a line."""
    if measurement.failure:
        return measurement.failure
    return (
        f"{measurement.seconds:.4f} s, {measurement.added_gb * 1000:.0f} MB added, "
        f"{measurement.peak_gb:.2f} GB peak"
    )


if __name__ == "__main__":
    main()
