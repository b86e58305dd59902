"""Drawn images, and the command that predicts them: here, or on Dask's workers."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tifffile

from cellseg.datasets.synthetic import draw_cell_image

OPTIONS = ("--model", "nuclei-he", "--scale", "1", "--device", "cpu")
JOB_NAME = f"cellseg-benchmark-{os.getpid()}"
"""What the SLURM jobs of this benchmark are called."""


def draw_cohort(folder: Path, small: int, large_px: int) -> None:
    """Draw small images, and a large one that repeats a drawn piece."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(small):
        image = draw_cell_image(np.random.default_rng(number), 96, 96, 8)[0][..., ::-1]
        tifffile.imwrite(folder / f"small{number:05d}.tif", image, photometric="rgb")
    piece = draw_cell_image(np.random.default_rng(1), 1000, 1000, 400)[0][..., ::-1]
    repeats = -(-large_px // 1000)
    with tifffile.TiffWriter(folder / "large.tif", bigtiff=True) as file:
        whole = np.tile(piece, (repeats, repeats, 1))[:large_px, :large_px]
        file.write(whole, photometric="rgb", tile=(512, 512), compression="zlib")


def start_prediction(
    inputs: Sequence[Path], out: Path, formats: Sequence[str], where: Sequence[str] = ()
) -> subprocess.Popen:
    """Start `cellseg predict` with one thread per process.

    Args:
        inputs: Images, or a folder of them.
        out: Folder of the outputs; the command's own lines are added to `OUT.log`.
        formats: Output formats.
        where: Flags that name the workers; none predict in the one process.
    """
    command = [sys.executable, "-m", "cellseg", "predict", *map(str, inputs), *OPTIONS]
    command += ["--format", *formats, "--out", str(out), *where]
    with out.with_suffix(".log").open("a") as log:
        env = {"OMP_NUM_THREADS": "1", "DASK_JOBQUEUE__SLURM__NAME": JOB_NAME}
        return subprocess.Popen(command, env={**os.environ, **env}, stdout=log, stderr=log)


def measure_cohort(images: Path, folder: Path) -> dict[str, float]:
    """Measure the seconds of two workers, and of two independent processes.

    The images are divided between the processes in turn, so that one has the large one alone. Half
    of the sum of their times is what two processes would need that share the work perfectly.
    """
    paths = sorted(images.iterdir())
    halves = [paths[number::2] for number in range(2)]
    shared = _time_prediction([images], folder / "dask", ("--dask", "local:2"))
    outs = [folder / f"alone{number}" for number in range(2)]
    with ThreadPoolExecutor(2) as pool:
        seconds = list(pool.map(_time_prediction, halves, outs))
    return {"workers": shared, "processes": max(seconds), "half_of_sum": sum(seconds) / 2}


def _time_prediction(inputs: Sequence[Path], out: Path, where: Sequence[str] = ()) -> float:
    """Return the seconds that a prediction takes.

    Raises:
        SystemExit: If it fails.
    """
    begin = time.perf_counter()
    if start_prediction(inputs, out, ("csv",), where).wait():
        raise SystemExit(out.with_suffix(".log").read_text("utf-8")[-2000:])
    return time.perf_counter() - begin
