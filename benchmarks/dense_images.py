"""Measure dense images side by side: MMDetection's own parts and this project's.

python benchmarks/dense_images.py              # everything: half an hour on 2 cores
python benchmarks/dense_images.py --rows pipeline rpn-targets --repeats 5
python benchmarks/dense_images.py --quick      # a minute, to see that it runs

Writes docs/benchmarks.md (table), docs/images/benchmarks.png (time and memory against cells) and
docs/benchmarks.json (every single measurement). Rows measured before are kept.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from dense.measuring import Case, Measurement, measure
from dense.plan import GROUPS, SpeedComparison, shrink
from dense.plot import draw_curves
from dense.report import as_planned, write_report
from dense.scenes import DrawnScene
from frame import (
    DRAWN,
    Raw,
    find_page,
    make_parser,
    read_raw,
    stamp,
    wait_passively,
    write_raw,
)


def main() -> None:
    """Measure the chosen rows one after another, and write the report."""
    parser = make_parser(__doc__, "small scenes once")
    parser.add_argument("--rows", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--repeats", type=int, default=5, help="measurements a side (curves: 3)")
    parser.add_argument("--memory-limit-gb", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--drawn", type=Path, default=DRAWN, help="folder of drawn images")
    parser.add_argument("--report-only", action="store_true", help="write from the raw numbers")
    args = parser.parse_args()
    wait_passively()
    page = find_page(args, "benchmarks")
    plan = shrink if args.quick else as_planned
    raw = read_raw(page)
    for name in () if args.report_only else args.rows:
        for comparison in map(plan, GROUPS[name]):
            repeats = 1 if args.quick else min(args.repeats, comparison.max_repeats)
            raw |= measure_comparison(comparison, repeats, args)
            write_raw(page, raw)
    draw_curves(raw, page.parent / "images" / "benchmarks.png", plan)
    print(write_report(raw, page, plan))


def measure_comparison(comparison: SpeedComparison, repeats: int, args: argparse.Namespace) -> Raw:
    """Measure all sides in turn, in alternating order; a side that failed is not tried again."""
    scene = DrawnScene(comparison.cells, comparison.size_px, comparison.images, args.drawn)
    results: dict[str, list[Measurement]] = {comparison.key(side): [] for side in comparison.sides}
    for repeat in range(repeats):
        for side in comparison.sides[:: -1 if repeat % 2 else 1]:
            key = comparison.key(side)
            done = results[key]
            if done and done[-1].failure:
                continue
            done.append(measure(Case(comparison.workload, side, scene, args.memory_limit_gb)))
            print(f"{key} {repeat + 1}/{repeats}: {done[-1]}", flush=True)
    return {
        key: stamp() | {"measurements": [asdict(measurement) for measurement in done]}
        for key, done in results.items()
    }


if __name__ == "__main__":
    main()
