"""Time the prediction of an image beside an earlier commit's and StarDist's network.

    python benchmarks/prediction.py --before OLD_CHECKOUT PYTHON --stardist PYTHON    # 15 minutes
    python benchmarks/prediction.py --quick                                           # a minute

Each measurement runs in a process of its own, and all of them take turns: array in, cells out, with
one thread and with two. OLD_CHECKOUT is a checkout of an earlier commit and PYTHON a Python that
runs it; StarDist's is one with stardist and tensorflow. What is left out is not in the table. The
image is drawn, or `--image FILE`. Writes docs/prediction_speed.md with a plot, and the JSON file
beside it.
"""

import json
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from frame import (
    DEMO_CONFIG,
    ROOT,
    Raw,
    find_demo_checkpoint,
    find_page,
    make_parser,
    read_raw,
    significant,
    spread,
    stamp,
    write_page,
    write_raw,
    write_table,
)

from cellseg.datasets.synthetic import draw_cell_image
from cellseg.images import read_cell_image

PARTS = Path(__file__).parent / "prediction_parts"
SIDE_PX = 1000
DENSITIES = (0, 100, 400, 1000, 2000)
HEAD = ("what", "threads", "cells", "seconds [range]", "s per Mpx", "peak GB", "whole / network")


def parse_args() -> Namespace:
    """Parse the command line."""
    parser = make_parser(__doc__, "a small drawn image, one repeat")
    parser.add_argument("--image", type=Path, help="image in place of a drawn one")
    parser.add_argument("--checkpoint", type=Path, help="of the demo's R18; default work_dirs/demo")
    parser.add_argument("--before", nargs=2, metavar=("CHECKOUT", "PYTHON"))
    parser.add_argument("--stardist", metavar="PYTHON", help="with stardist and tensorflow")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2, help="turns of all measurements")
    parser.add_argument("--report-only", action="store_true", help="write from the raw numbers")
    return parser.parse_args()


def main() -> None:
    """Measure everything in turns, then write the page."""
    args = parse_args()
    if args.quick:
        args.repeats, args.rounds = 1, 1
    page = find_page(args, "prediction_speed")
    if not args.report_only:
        with tempfile.TemporaryDirectory() as folder:
            path, megapixels = save_image(args, Path(folder))
            rows = measure(args, path)
            curve = measure_densities(args, Path(folder))
        raw = {name: {**stamp(), **row} for name, row in rows.items()}
        kind = args.image.name if args.image else "a drawn image"
        raw["cells"] = {**stamp(), "curve": curve, "image": kind, "megapixels": megapixels}
        write_raw(page, raw)
    write_report(page, read_raw(page))
    print(f"Wrote {page}")


def write_report(page: Path, raw: Raw) -> None:
    """Write the page and its plot from the raw numbers."""
    shown = raw["cells"]
    plot = page.with_name("images") / "prediction_speed.png"
    plot.parent.mkdir(parents=True, exist_ok=True)
    draw_curve(shown["curve"], plot)
    megapixels = shown["megapixels"]
    rows = [make_row(row, megapixels) for name, row in raw.items() if name != "cells"]
    body = TEXT.format(
        table=write_table(HEAD, rows), image=shown["image"], megapixels=significant(megapixels)
    )
    write_page(page, "Speed of prediction", "prediction.py", body, raw=raw)


def save_image(args: Namespace, folder: Path) -> tuple[Path, float]:
    """Write the image as an array for the other processes; returns its path and megapixels."""
    if args.image:
        image = read_cell_image(args.image)
    else:
        side = 256 if args.quick else SIDE_PX
        cells = round(1000 * side**2 / 1e6)
        image, _ = draw_cell_image(np.random.default_rng(0), side, side, cells)
    np.save(folder / "image.npy", image)
    return folder / "image.npy", image.shape[0] * image.shape[1] / 1e6


def list_cases(args: Namespace, path: Path) -> dict[str, dict[str, Any]]:
    """List what is measured: the script, the Python that runs it, and what it is told."""
    r18 = {"config": str(DEMO_CONFIG), "checkpoint": str(args.checkpoint or find_demo_checkpoint())}
    light = {"config": "nuclei-he", "checkpoint": None}
    now = {"script": "time_cellseg.py", "python": sys.executable, "tree": str(ROOT)}
    now |= {"parts": True, "amp": False}
    cases: dict[str, dict[str, Any]] = {}
    for threads in (1,) if args.quick else (1, 2):
        shared = {"image": str(path), "repeats": args.repeats, "threads": threads}
        if args.before:
            tree, python = args.before
            before = {**now, "tree": str(Path(tree).resolve()), "python": python, "parts": False}
            cases[f"R18 before, {threads}"] = {**before, **shared, **r18, "scale": 1.0}
        cases[f"R18, {threads}"] = {**now, **shared, **r18, "scale": 1.0}
        for scale in (1.0, 1.6):
            case = {**now, **shared, **light, "scale": scale}
            cases[f"nuclei-he at {scale}, {threads}"] = case
            cases[f"nuclei-he at {scale} with --amp, {threads}"] = {**case, "amp": True}
        if args.stardist:
            star = {"script": "time_stardist.py", "python": args.stardist}
            cases[f"StarDist's network alone, {threads}"] = {**star, **shared}
    return cases


def measure(args: Namespace, path: Path) -> dict[str, dict[str, Any]]:
    """Measure every case in turns; returns seconds, cells, peak memory and parts by name."""
    cases = list_cases(args, path)
    rows: dict[str, dict[str, Any]] = {}
    for _ in range(args.rounds):
        for name, case in cases.items():
            result = run_case(case)
            row = rows.setdefault(name, {**result, "name": name, "seconds": [], "ratios": []})
            row["seconds"] += result["seconds"]
            row["peak_gb"] = max(row["peak_gb"], result["peak_gb"])
            if result["parts"] and not case["amp"]:  # the parts are timed in float32
                network = sum(median(seconds) for seconds in result["parts"].values())
                row["ratios"].append(median(result["seconds"]) / network)
            print(name, spread(result["seconds"]), result["cells"], flush=True)
    return rows


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    """Run one script in its own environment, and read the JSON that it prints last."""
    command = [case["python"], str(PARTS / case["script"]), json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tempfile.gettempdir())
    if done.returncode:
        raise SystemExit(f"{case['script']} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure_densities(args: Namespace, folder: Path) -> list[dict[str, Any]]:
    """Time drawn images with more and more cells: R18 with one thread."""
    curve = []
    side = 256 if args.quick else SIDE_PX
    for density in DENSITIES[:2] if args.quick else DENSITIES:
        cells = round(density * side**2 / 1e6)
        image, _ = draw_cell_image(np.random.default_rng(1), side, side, cells)
        path = folder / f"{density}.npy"
        np.save(path, image)
        case = list_cases(args, path)["R18, 1"]
        curve.append({"drawn": density, **run_case(case)})
    return curve


def make_row(row: dict[str, Any], megapixels: float) -> list[str]:
    """Write one row of the table."""
    what, _, threads = row["name"].rpartition(", ")
    seconds = median(row["seconds"])
    cells = "" if row["cells"] is None else f"{row['cells']:,}"
    ratios = row["ratios"]
    ratio = spread(ratios) if len(ratios) > 1 else significant(ratios[0]) if ratios else ""
    figures = [spread(row["seconds"]), significant(seconds / megapixels)]
    return [what, threads, cells, *figures, significant(row["peak_gb"]), ratio]


def draw_curve(curve: list[dict[str, Any]], path: Path) -> None:
    """Plot seconds, and those of the network's parts, against the cells found."""
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    found = [point["cells"] for point in curve]
    axes.plot(found, [median(point["seconds"]) for point in curve], "o-", label="whole prediction")
    network = [sum(median(part) for part in point["parts"].values()) for point in curve]
    axes.plot(found, network, "s--", label="network parts alone")
    axes.set(xlabel="cells found in the image", ylabel="seconds, one thread", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


TEXT = """Prediction of {image} ({megapixels} Mpx) on a CPU: array in, cells out, minimum score 0.5.
"Network" is the sum of three parts, each timed alone on the inputs that it had in that prediction:
backbone, neck and RPN; the box head on the proposals used; the mask head on the cells kept.
"Before" is an earlier commit in its own environment, with mmcv's compiled ops. StarDist's network
has the shape of its H&E model and random weights; its non-maximum suppression is not counted.
Ranges are over all calls. `--amp` computes in bfloat16, which pays where the CPU has AMX.

{table}

![Seconds against the number of cells](images/prediction_speed.png)

The plot shows drawn images of 1000 x 1000 px with 0 to 2,000 cells, found by the demo's R18.
"""

if __name__ == "__main__":
    main()
