"""Predict drawn slides of growing size: time, share of the network, memory, cells per second.

    python benchmarks/tiled_prediction.py --checkpoint best.pth     # 20 minutes on 2 cores
    python benchmarks/tiled_prediction.py --sides 20000 --no-sahi   # the largest alone
    python benchmarks/tiled_prediction.py --quick                   # a minute, to see that it runs

Each measurement runs in a process of its own, so that its peak memory is its own. SAHI is measured
beside it where it is installed. Writes docs/tiled_prediction.md with a plot, and the raw numbers
as JSON; what was measured before is kept.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dense.report import describe_machine
from tiled.report import write_report

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--config", default=str(ROOT / "configs/cell/mask-rcnn_r18_small-anchor_demo.py")
    )
    parser.add_argument("--checkpoint", help="default: the best of work_dirs/demo")
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
        default=["model.test_cfg.rpn.max_per_img=500"],
        help="override the config; proposals as in training by default, 8 a cell",
    )
    parser.add_argument("--quick", action="store_true", help="small slides, written elsewhere")
    parser.add_argument("--out", type=Path, help="folder of the report; default docs")
    parser.add_argument("--report-only", action="store_true", help="write from the raw numbers")
    parser.add_argument(
        "--one", nargs=3, metavar=("HOW", "SLIDE", "FOLDER"), help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    if args.quick:
        args.sides, args.sahi_side = [800, 1600], 800
    return args


def main() -> None:
    """Measure every side and the comparison, and write the report after each."""
    args = parse_args()
    if args.one:
        from tiled.works import run_here

        run_here(args, args.one[0], Path(args.one[1]), Path(args.one[2]))
        return
    args.checkpoint = args.checkpoint or find_demo_checkpoint()
    # For all children: a thread that spins at a barrier keeps a busy machine from its work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    out = args.out or ROOT / ("work_dirs/benchmarks_quick" if args.quick else "docs")
    raw_path = out / "tiled_prediction.json"
    raw = json.loads(raw_path.read_text("utf-8")) if raw_path.exists() else {}
    works = [(measure_growth, side) for side in args.sides]
    if not args.no_sahi and find_spec("sahi"):
        works.append((compare_with_sahi, args.sahi_side))
    for work, side in () if args.report_only else works:
        raw |= work(args, side)
        out.mkdir(parents=True, exist_ok=True)
        raw_path.write_text(json.dumps(raw, indent=1) + "\n", "utf-8")
        write_report(raw, out / "tiled_prediction.md")
    print(write_report(raw, out / "tiled_prediction.md"))


def find_demo_checkpoint() -> str:
    """Return the best checkpoint of `make demo`."""
    found = sorted((ROOT / "work_dirs" / "demo").glob("best_*.pth"))
    if not found:
        raise SystemExit("There is no work_dirs/demo/best_*.pth; run make demo, or name a file.")
    return str(found[-1])


def measure_growth(args: argparse.Namespace, side_px: int) -> dict[str, Any]:
    """Predict one slide, args.repeats times."""
    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "slide.tif"
        drawn = draw(slide, side_px, args.tissue, args.cells_per_block)
        measurements = []
        for number in range(args.repeats):
            measurements.append(run_apart(args, "slide", slide, Path(folder) / str(number)))
            print(f"slide {side_px}: {measurements[-1]}", flush=True)
    return {f"slide {side_px}": describe(args, side_px, drawn) | {"measurements": measurements}}


def compare_with_sahi(args: argparse.Namespace, side_px: int) -> dict[str, Any]:
    """Predict a slide full of tissue whole, tiled and with SAHI, in turn."""
    runs: dict[str, list] = {"whole": [], "ours": [], "sahi": []}
    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "slide.tif"
        drawn = draw(slide, side_px, 1.0, args.cells_per_block)
        for _ in range(args.repeats):
            for how, done in runs.items():
                done.append(run_apart(args, how, slide, Path(folder)))
                print(f"{how} {side_px}: {done[-1]}", flush=True)
        agreements = run_apart(args, "compare", slide, Path(folder))
    case = describe(args, side_px, drawn) | {"runs": runs, "agreements": agreements}
    return {f"sahi {side_px}": case}


def draw(slide: Path, side_px: int, tissue: float, cells_per_block: int) -> int:
    """Write a slide; how many cells are drawn."""
    from tiled.slides import write_slide

    return write_slide(slide, side_px, tissue, cells_per_block)


def run_apart(args: argparse.Namespace, how: str, slide: Path, folder: Path) -> dict[str, Any]:
    """Make one measurement in a fresh process."""
    folder.mkdir(exist_ok=True)
    flags = ["--config", args.config, "--checkpoint", args.checkpoint, "--tile", args.tile]
    flags += ["--overlap", args.overlap, "--scale", args.scale, "--format", *args.format]
    flags += ["--cfg-options", *args.cfg_options, "--one", how, slide, folder]
    done = subprocess.run(
        [sys.executable, __file__, *map(str, flags)], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{how} failed:\n{done.stderr[-2000:]}")
    return json.loads((folder / "numbers.json").read_text("utf-8"))


def describe(args: argparse.Namespace, side_px: int, drawn: int) -> dict[str, Any]:
    """Note what was measured, where and when."""
    setting = (
        f"`{Path(args.config).stem}`, `{Path(args.checkpoint).name}`, tiles of {args.tile} px with "
        f"{args.overlap} px overlap, scale {args.scale:g}, {' '.join(args.cfg_options)}"
    )
    return {
        "side_px": side_px,
        "drawn_cells": drawn,
        "setting": setting,
        "date": date.today().isoformat(),
        "machine": describe_machine(),
    }


if __name__ == "__main__":
    main()
