"""Measure how well Dask's workers are kept busy, and what a long list of images costs.

    python benchmarks/cohort.py
    python benchmarks/cohort.py --quick

Four parts, each with real processes on this machine:

waiting   Units that wait for a second in place of predicting, so that cores are not the limit:
          the share of the time in which 1, 2, 4 and 8 workers are busy; at least 95% at 8.
memory    Memory of client and scheduler, which share a process, at up to 100,000 images.
cohort    Drawn images and a large one on two workers against two independent processes: at most
          5% slower.
kills     Random kills of workers while a cohort runs: the outputs must be those of one process.

Writes docs/cohort.md.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import tifffile
from frame import find_page, is_met, make_parser, write_page, write_table
from timing import time_once

from cellseg.cluster.clients import start_local
from cellseg.cluster.cohort import predict_cohort
from cellseg.cluster.cohort_job import CohortJob
from cellseg.cluster.orders import Unit, UnitResult, WorkOrder
from cellseg.datasets.synthetic import draw_cell_image
from cellseg.inference.image_list import InputImage, find_input_images
from cellseg.inference.image_work import ImageOutcome
from cellseg.inference.output_folder import OutputOptions
from cellseg.inference.predictor_recipe import PredictorRecipe
from cellseg.inference.tile_plan import TileOptions

PARTS = ("waiting", "memory", "cohort", "kills")
LEAST_BUSY, MOST_SLOWER = 0.95, 1.05


def wait_unit(order: WorkOrder, unit: Unit) -> UnitResult:
    """Stand in for a unit: wait for as long as the image's name says."""
    seconds = float(unit.image.name.split("_")[1])
    time.sleep(seconds)
    outcome = ImageOutcome(
        unit.image.name, 1, height=1000, width=1000, cells_per_class={"nucleus": 1}
    )
    return UnitResult("worker", seconds, 1, outcome)


def make_waiting_job(client: object, count: int, seconds: float, folder: Path) -> CohortJob:
    """Make a run whose units wait; its images need not exist."""
    image = folder / "image.tif"
    image.touch()
    images = [InputImage(image, f"{number}_{seconds}") for number in range(count)]
    job = CohortJob(client, PredictorRecipe(), images, OutputOptions(folder, ("csv",)))  # type: ignore[arg-type]
    job.do_unit = wait_unit
    return job


def measure_waiting(workers: int, units: int, seconds: float) -> float:
    """Return the share of the time in which workers are busy."""
    with tempfile.TemporaryDirectory() as name, start_local(workers) as connection:
        connection.client.wait_for_workers(workers, timeout=300)
        warm = make_waiting_job(connection.client, workers, 0.1, Path(name))
        warm.run_units()  # imports are not measured
        job = make_waiting_job(connection.client, units * workers, seconds, Path(name))
        return units * seconds / time_once(job.run_units)


def measure_memory(images: int) -> tuple[float, float]:
    """Return what a list of images adds to this process's memory in MB, and the seconds it took."""
    with tempfile.TemporaryDirectory() as name, start_local(2) as connection:
        connection.client.wait_for_workers(2, timeout=300)
        make_waiting_job(connection.client, 50, 0.0, Path(name)).run_units()
        before = psutil.Process().memory_info().rss
        job = make_waiting_job(connection.client, images, 0.0, Path(name))
        seconds = time_once(job.run_units)
        return (psutil.Process().memory_info().rss - before) / 1e6, seconds


def draw_cohort(folder: Path, small: int, large_px: int) -> None:
    """Draw small images, and a large one that repeats one of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(small):
        image = draw_cell_image(np.random.default_rng(number), 96, 96, 8)[0][..., ::-1]
        tifffile.imwrite(folder / f"small{number:05d}.tif", image, photometric="rgb")
    piece = draw_cell_image(np.random.default_rng(1), 1000, 1000, 400)[0][..., ::-1]
    repeats = -(-large_px // 1000)
    with tifffile.TiffWriter(folder / "large.tif", bigtiff=True) as file:
        whole = np.tile(piece, (repeats, repeats, 1))[:large_px, :large_px]
        file.write(whole, photometric="rgb", tile=(512, 512), compression="zlib")


def measure_cohort(images: Path, folder: Path) -> tuple[float, float]:
    """Return the seconds of two workers, and of two independent processes with half each."""
    recipe = PredictorRecipe("nuclei-he", device="cpu", tiling=TileOptions(scale=1.0))
    options = OutputOptions(folder / "dask", ("csv",))
    with start_local(2) as connection:
        connection.client.wait_for_workers(2, timeout=300)
        found = find_input_images([images])
        shared = time_once(lambda: predict_cohort(connection, recipe, found, options))
    return shared, time_once(lambda: _run_alone([found[::2], found[1::2]], folder))


def _run_alone(halves: Sequence[Sequence[InputImage]], folder: Path) -> None:
    """Run one process for each half."""
    processes = []
    for number, half in enumerate(halves):
        command = [sys.executable, "-m", "cellseg", "predict", *(str(image.path) for image in half)]
        command += ["--model", "nuclei-he", "--scale", "1", "--format", "csv", "--device", "cpu"]
        command += ["--out", str(folder / f"alone{number}")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
    for process in processes:
        process.wait()


def measure_kills(images: Path, folder: Path, kills: int) -> tuple[int, bool]:
    """Kill random workers while a cohort runs; how many were, and whether the outputs are right."""
    recipe = PredictorRecipe("nuclei-he", device="cpu", tiling=TileOptions(scale=1.0))
    found = find_input_images([images])
    with start_local(2) as connection:
        predict_cohort(connection, recipe, found, OutputOptions(folder / "whole", ("csv", "coco")))
    done, ended = [0], threading.Event()

    def kill() -> None:
        pick = random.Random(0)
        while done[0] < kills and not ended.wait(pick.uniform(2, 6)):
            family = psutil.Process().children(recursive=True)
            workers = [p for p in family if "spawn_main" in " ".join(p.cmdline())]
            if workers:
                pick.choice(workers).send_signal(signal.SIGKILL)
                done[0] += 1

    with start_local(2) as connection:
        killer = threading.Thread(target=kill)
        killer.start()
        predict_cohort(connection, recipe, found, OutputOptions(folder / "killed", ("csv", "coco")))
        ended.set()
        killer.join()
    names = sorted(path.name for path in (folder / "whole").iterdir() if "cohort" not in path.name)
    alike = [
        (folder / "whole" / name).read_bytes() == (folder / "killed" / name).read_bytes()
        for name in names
    ]
    return done[0], all(alike)


def main() -> int:
    """Measure the chosen parts and write the page; 1 if a target is missed."""
    parser = make_parser(__doc__, "fewer and shorter units")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--units", type=int, default=20, help="units of a second per worker")
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--small", type=int, default=2000, help="drawn images of the cohort")
    parser.add_argument("--large", type=int, default=20_000, help="side of the large image in px")
    parser.add_argument("--kills", type=int, default=50)
    args = parser.parse_args()
    if args.quick:
        args.units, args.images, args.small, args.large, args.kills = 3, [50, 200], 4, 1200, 2
    body, all_met = write_body(args)
    write_page(find_page(args, "cohort"), "Cohorts on Dask", "cohort.py", body)
    return 0 if all_met else 1


def write_body(args: Namespace) -> tuple[str, bool]:
    """Measure and write the page's tables, and whether all targets are met."""
    texts, met = [], []
    if "waiting" in args.parts:
        rows = []
        for workers in (1, 2) if args.quick else (1, 2, 4, 8):
            busy = measure_waiting(workers, args.units, 0.2 if args.quick else 1.0)
            met.append(busy >= LEAST_BUSY or workers < 8)
            target = is_met(busy >= LEAST_BUSY) if workers == 8 else ""
            rows.append([workers, f"{busy:.1%}", target])
        texts.append(
            "## Units that wait\n\n" + write_table(["workers", "busy", "at least 95%"], rows)
        )
    if "memory" in args.parts:
        rows = []
        for images in args.images:
            added, seconds = measure_memory(images)
            rows.append(
                [
                    f"{images:,}",
                    f"{added:.0f}",
                    f"{1000 * added / images:.2f}",
                    f"{1000 * seconds / images:.1f}",
                ]
            )
        head = ["images", "MB", "KB per image", "ms per image"]
        texts.append("## Memory of client and scheduler\n\n" + write_table(head, rows))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if {"cohort", "kills"} & set(args.parts):
            draw_cohort(folder / "images", args.small, args.large)
        if "cohort" in args.parts:
            shared, alone = measure_cohort(folder / "images", folder)
            met.append(shared <= MOST_SLOWER * alone)
            row = [f"{shared:.0f}", f"{alone:.0f}", f"{shared / alone:.2f}", is_met(met[-1])]
            head = ["two workers, s", "two processes, s", "ratio", "at most 1.05"]
            texts.append("## A cohort\n\n" + write_table(head, [row]))
        if "kills" in args.parts:
            kills, is_alike = measure_kills(folder / "images", folder, args.kills)
            met.append(is_alike)
            head = ["workers killed", "outputs of one run"]
            texts.append("## Kills\n\n" + write_table(head, [[kills, is_met(is_alike)]]))
    return "\n\n".join(texts) + "\n", all(met)


if __name__ == "__main__":
    sys.exit(main())
