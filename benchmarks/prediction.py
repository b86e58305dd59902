"""Time the prediction of an image beside an earlier commit's and StarDist's network.

    python benchmarks/prediction.py --before OLD_CHECKOUT PYTHON --stardist PYTHON    # 30 minutes
    python benchmarks/prediction.py --parts agreement --before OLD_CHECKOUT PYTHON \
        --also CONFIG CHECKPOINT IMAGE                                                # 3 minutes
    python benchmarks/prediction.py --quick                                           # a minute

Each measurement runs in a process of its own, and all of them take turns: array in, cells out, with
one thread and with two. OLD_CHECKOUT is a checkout of an earlier commit and PYTHON a Python that
runs it; StarDist's is one with stardist and tensorflow. What is left out is not in the table. The
image is drawn, or `--image FILE`. A part that is not measured keeps its earlier numbers. Writes
docs/prediction_speed.md with a plot, and the JSON file beside it.
"""

import json
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from frame import (
    DEMO_CONFIG,
    ROOT,
    find_demo_checkpoint,
    find_page,
    make_parser,
    read_raw,
    spread,
    stamp,
    write_raw,
)
from prediction_parts.agreement import compare_cells
from prediction_parts.page import write_report

from cellseg.datasets.synthetic import draw_cell_image
from cellseg.images import read_cell_image

SCRIPTS = Path(__file__).parent / "prediction_parts"
PARTS = ("times", "agreement", "profile")
SIDE_PX = 1000
DENSITIES = (0, 100, 400, 1000, 2000)
LEAST_CALLS = 5
LIGHT = {"config": "nuclei-he", "checkpoint": None}
Case = dict[str, Any]


def parse_args() -> Namespace:
    """Parse the command line."""
    parser = make_parser(__doc__, "a small drawn image, one repeat")
    parser.add_argument("--image", type=Path, help="image in place of a drawn one")
    parser.add_argument("--checkpoint", type=Path, help="of the demo's R18; default work_dirs/demo")
    parser.add_argument("--before", nargs=2, metavar=("CHECKOUT", "PYTHON"))
    parser.add_argument("--stardist", metavar="PYTHON", help="with stardist and tensorflow")
    parser.add_argument(
        "--also",
        nargs=3,
        action="append",
        default=[],
        metavar=("CONFIG", "CHECKPOINT", "IMAGE"),
        help="time and compare another model or image, too, at scale 1",
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2, help="turns of all measurements")
    parser.add_argument("--report-only", action="store_true", help="write from the raw numbers")
    args = parser.parse_args()
    if args.quick:
        args.repeats, args.rounds = 1, 1
    elif args.repeats * args.rounds < LEAST_CALLS:
        parser.error(f"--repeats times --rounds must be {LEAST_CALLS} or more.")
    return args


def main() -> None:
    """Measure the parts asked for, then write the page."""
    args = parse_args()
    page = find_page(args, "prediction_speed")
    if not args.report_only:
        args.checkpoint = args.checkpoint or find_demo_checkpoint()
        raw = read_raw(page)
        with tempfile.TemporaryDirectory() as folder:
            path, megapixels = save_image(args, Path(folder))
            args.others = save_others(args, Path(folder))
            if "times" in args.parts:
                raw = {name: row for name, row in raw.items() if name in PARTS}
                rows = measure(args, path)
                raw |= {name: {**stamp(), **row} for name, row in rows.items()}
                curve = measure_densities(args, Path(folder))
                kind = name_image(args.image or "a drawn image")
                shown = {"curve": curve, "image": kind, "megapixels": megapixels}
                raw["cells"] = {**stamp(), **shown}
            if "agreement" in args.parts and args.before:
                raw["agreement"] = measure_agreement(args, path, Path(folder))
            if "profile" in args.parts:
                raw["profile"] = measure_profile(args, path)
        write_raw(page, raw)
    write_report(page, read_raw(page))
    print(f"Wrote {page}")


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


def save_others(args: Namespace, folder: Path) -> dict[str, Case]:
    """Write the images of `--also` as arrays; returns what differs in each case, by its name."""
    others = {}
    for number, (config, checkpoint, path) in enumerate(args.also):
        image = read_cell_image(Path(path))
        array = folder / f"also_{number}.npy"
        np.save(array, image)
        model = {"config": str(Path(config).resolve()), "checkpoint": checkpoint}
        megapixels = image.shape[0] * image.shape[1] / 1e6
        name = f"{Path(config).stem} on {name_image(path)}"
        others[name] = {**model, "image": str(array), "megapixels": megapixels}
    return others


def make_case(args: Namespace, path: Path, threads: int = 1, **changes: Any) -> Case:
    """Say what is measured: the script, the Python that runs it, and what it is told.

    Args:
        args: The command line.
        path: The image as an array.
        threads: Number of threads.
        changes: What differs from this checkout's prediction by the demo's R18.

    Returns:
        The case, which `run_case` takes.
    """
    case = {"script": "time_cellseg.py", "python": sys.executable, "tree": str(ROOT)}
    model = {"config": str(DEMO_CONFIG), "checkpoint": str(args.checkpoint), "scale": 1.0}
    shared = {"image": str(path), "repeats": args.repeats, "threads": threads}
    return {**case, **model, **shared, "parts": True, "amp": False, **changes}


def find_before(args: Namespace) -> Case:
    """Return what differs in a prediction by the earlier checkout."""
    tree, python = args.before
    return {"tree": str(Path(tree).resolve()), "python": python, "parts": False}


def list_cases(args: Namespace, path: Path) -> dict[str, Case]:
    """List what is timed by its name, which ends with the number of threads."""
    cases: dict[str, Case] = {}
    for threads in (1,) if args.quick else (1, 2):
        if args.before:
            cases[f"R18 before, {threads}"] = make_case(args, path, threads, **find_before(args))
        cases[f"R18, {threads}"] = make_case(args, path, threads)
        for scale in (1.0, 1.6):
            case = make_case(args, path, threads, **LIGHT, scale=scale)
            cases[f"nuclei-he at {scale}, {threads}"] = case
            cases[f"nuclei-he at {scale} with --amp, {threads}"] = {**case, "amp": True}
        if threads == 1:
            others = {
                f"{name}, 1": make_case(args, path, **case) for name, case in args.others.items()
            }
            cases |= others
        if args.stardist:
            star = {"script": "time_stardist.py", "python": args.stardist}
            cases[f"StarDist's network alone, {threads}"] = make_case(args, path, threads, **star)
    return cases


def measure(args: Namespace, path: Path) -> dict[str, dict[str, Any]]:
    """Measure every case in turns; returns seconds, cells, peak memory and parts by name."""
    cases = list_cases(args, path)
    rows: dict[str, dict[str, Any]] = {}
    for _ in range(args.rounds):
        for name, case in cases.items():
            result = run_case(case)
            row = rows.setdefault(name, {**result, "name": name, "seconds": [], "ratios": []})
            row["megapixels"] = case.get("megapixels")  # of another image
            row["seconds"] += result["seconds"]
            row["peak_gb"] = max(row["peak_gb"], result["peak_gb"])
            if result["parts"] and not case["amp"]:  # the parts are timed in float32
                row["ratios"].append(find_ratio(result))
            print(name, spread(result["seconds"]), result["cells"], flush=True)
    return rows


def find_ratio(result: dict[str, Any]) -> float:
    """Return the time of a whole prediction divided by that of its network's parts."""
    network = sum(median(seconds) for seconds in result["parts"].values())
    return median(result["seconds"]) / network


def run_case(case: Case) -> dict[str, Any]:
    """Run one script in its own environment, and read the JSON that it prints last."""
    command = [case["python"], str(SCRIPTS / case["script"]), json.dumps(case)]
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
        curve.append({"drawn": density, **run_case(make_case(args, path))})
    return curve


def measure_agreement(args: Namespace, path: Path, folder: Path) -> dict[str, Any]:
    """Compare the cells of the earlier checkout with today's: the image, and those of `--also`."""
    demo = f"{DEMO_CONFIG.stem} on {name_image(args.image or 'a drawn image')}"
    compared = []
    for name, changes in {demo: {}, **args.others}.items():
        cells = []
        for side, more in {"before": find_before(args), "now": {}}.items():
            saved = {"cells_file": str(folder / f"{side}.json"), "repeats": 0, "parts": False}
            run_case(make_case(args, path, **changes, **{**more, **saved}))
            cells.append(json.loads(Path(saved["cells_file"]).read_text("utf-8")))
        compared.append({"name": name, **compare_cells(*cells)})
        print(compared[-1], flush=True)
    return {**stamp(), "images": compared}


def name_image(image: str | Path) -> str:
    """Name an image by its file, or by its folder where all files have the same name."""
    path = Path(image)
    return path.parent.name if path.stem == "image" and path.parent.name else path.name


def measure_profile(args: Namespace, path: Path) -> dict[str, Any]:
    """Measure where the time of a prediction goes, and what its network would take at least."""
    script = {"script": "profile_cellseg.py"}
    models = {
        "R18": run_case(make_case(args, path, **script)),
        "nuclei-he at 1.0": run_case(make_case(args, path, **script, **LIGHT)),
        "nuclei-he at 1.6": run_case(make_case(args, path, **script, **LIGHT, scale=1.6)),
    }
    return {**stamp(), "models": models}


if __name__ == "__main__":
    main()
