"""Predict drawn slides of growing size: time, memory, cells per second.

    python benchmarks/tiled_prediction.py --checkpoint best.pth     # 20 minutes on 2 cores
    python benchmarks/tiled_prediction.py --sides 20000 --no-sahi   # the largest alone
    python benchmarks/tiled_prediction.py --sides 20000 --no-sahi --config nuclei-he --scale 1.6
    python benchmarks/tiled_prediction.py --quick                   # a minute, to see that it runs

Each measurement runs in a process of its own, so that its peak memory is its own. SAHI is measured
beside it where it is installed. Writes docs/tiled_prediction.md with a plot, and the raw numbers
as JSON; earlier measurements are kept.
"""

import tempfile
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from frame import (
    DEMO_CONFIG,
    Raw,
    find_demo_checkpoint,
    find_page,
    make_parser,
    read_raw,
    run_apart,
    stamp,
    wait_passively,
    write_raw,
)
from mmengine.config import DictAction
from tiled.measuring import compare, predict_array, predict_slide
from tiled.report import write_report
from tiled.slides import write_slide

DEMO_LIMITS = {"model.test_cfg.rpn.max_per_img": 500}


def parse_args() -> Namespace:
    """Parse the command line."""
    parser = make_parser(__doc__, "small slides")
    parser.add_argument(
        "--config", default=str(DEMO_CONFIG), help="or the name of a model; default: the demo's"
    )
    parser.add_argument("--checkpoint", help="of a config; default: the best of work_dirs/demo")
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[2000, 5000, 10000, 20000], help="in pixels"
    )
    parser.add_argument("--tissue", type=float, default=0.3, help="share of the slide with cells")
    parser.add_argument("--cells-per-block", type=int, default=850, help="in 1000 x 1000 pixels")
    parser.add_argument("--tile", type=int, default=512, help="side of a tile in pixels")
    parser.add_argument("--overlap", type=int, default=64, help="overlap of tiles in pixels")
    parser.add_argument("--scale", type=float, default=1.0, help="network pixels per pixel")
    parser.add_argument("--format", nargs="+", default=["labels", "geojson"])
    parser.add_argument("--repeats", type=int, default=1, help="measurements of each case")
    parser.add_argument("--sahi-side", type=int, default=2000, help="side compared with SAHI")
    parser.add_argument("--no-sahi", action="store_true", help="leave the comparison out")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        help="override the config; by default only the demo's: proposals as in training",
    )
    parser.add_argument("--report-only", action="store_true", help="write from the raw numbers")
    args = parser.parse_args()
    is_demo = args.config == str(DEMO_CONFIG)
    if args.cfg_options is None:  # other models have the limits that they were made with
        args.cfg_options = DEMO_LIMITS if is_demo else {}
    if not (is_demo or args.checkpoint) and args.config.endswith(".py"):
        parser.error(
            f"--config {args.config} needs the weights that belong to it: --checkpoint FILE."
        )
    if args.quick:
        args.sides, args.sahi_side = [800, 1600], 800
    return args


def main() -> None:
    """Measure every side and the comparison, and write the page after each."""
    args = parse_args()
    wait_passively()
    page = find_page(args, "tiled_prediction")
    raw = read_raw(page)
    cases = [(measure_growth, side) for side in args.sides]
    if not args.no_sahi and find_spec("sahi"):
        cases.append((compare_with_sahi, args.sahi_side))
    if args.report_only:
        cases = []
    elif not args.checkpoint and args.config == str(DEMO_CONFIG):
        args.checkpoint = str(find_demo_checkpoint())
    for measure, side in cases:
        raw |= measure(args, side)
        write_raw(page, raw)
        write_report(raw, page)
    print(write_report(raw, page))


def measure_growth(args: Namespace, side_px: int) -> Raw:
    """Predict one slide, args.repeats times."""
    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "slide.tif"
        drawn = write_slide(slide, side_px, args.tissue, args.cells_per_block)
        measurements = []
        for number in range(args.repeats):
            out = Path(folder) / str(number)
            measurements.append(run_apart(predict_slide, args, slide, out))
            print(f"slide {side_px}: {measurements[-1]}", flush=True)
    other = f"model {Path(args.config).stem}@{args.scale:g}"
    name = "slide" if args.config == str(DEMO_CONFIG) else other
    return {f"{name} {side_px}": describe(args, side_px, drawn) | {"measurements": measurements}}


def compare_with_sahi(args: Namespace, side_px: int) -> Raw:
    """Predict a slide full of tissue whole, tiled and with SAHI, in turn."""
    runs: dict[str, list] = {"whole": [], "ours": [], "sahi": []}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "slide.tif"
        drawn = write_slide(slide, side_px, 1.0, args.cells_per_block)
        for _ in range(args.repeats):
            for how, done in runs.items():
                found[how], numbers = run_apart(predict_array, args, slide, how)
                done.append(numbers)
                print(f"{how} {side_px}: {numbers}", flush=True)
        agreements = run_apart(compare, args, slide, found)
    case = describe(args, side_px, drawn) | {"runs": runs, "agreements": agreements}
    return {f"sahi {side_px}": case}


def describe(args: Namespace, side_px: int, drawn: int) -> dict[str, Any]:
    """Note what was measured, where and when."""
    parts = [f"`{Path(args.config).stem}`"]
    if args.checkpoint:
        parts.append(f"`{Path(args.checkpoint).name}`")
    parts.append(f"tiles of {args.tile} px with {args.overlap} px overlap, scale {args.scale:g}")
    parts += [f"{key}={value}" for key, value in args.cfg_options.items()]
    return {"side_px": side_px, "drawn_cells": drawn, "setting": ", ".join(parts), **stamp()}


if __name__ == "__main__":
    main()
