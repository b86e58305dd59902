"""Kill workers, jobs and clients while a cohort is predicted, and compare what comes out."""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import psutil

from .predicting import JOB_NAME, start_prediction

_FORMATS = ("csv", "coco", "labels")
_CLIENT_SHARE = 0.1  # of the kills
_PATIENCE_S = 300.0  # for a sign of progress between two kills
Kill = Callable[[psutil.Process, random.Random], bool]


def measure_kills(images: Path, folder: Path, kills: int, slurm: str | None) -> dict[str, object]:
    """Kill at random while a cohort is predicted, again and again; compare with one process.

    Args:
        images: Folder of images.
        folder: Folder for the outputs.
        kills: How many processes to kill.
        slurm: Partition of a SLURM, whose jobs then take a fifth of the kills; None without one.
    """
    alone = folder / "alone"
    if start_prediction([images], alone, _FORMATS).wait():
        raise SystemExit((folder / "alone.log").read_text()[-2000:])
    jobs = kills // 5 if slurm else 0
    rounds = [("worker", ("--dask", "local:2"), kill_worker, kills - jobs)]
    if slurm:
        options = ("--cpus-per-job", "1", "--memory-per-job", "4GB")
        where = ("--slurm", slurm, "--jobs", "2", *options)
        rounds.append(("job", where, partial(cancel_job, slurm), jobs))
    pick = random.Random(0)
    counts: dict[str, int] = {"runs": 0, "starts": 0, "client": 0}
    is_alike = True
    for name, where, kill, wanted in rounds:
        counts[name] = 0
        while counts[name] < wanted:
            out = folder / f"{name}{counts['runs']}"
            _predict_under_fire(images, out, where, (name, kill, wanted), counts, pick)
            counts["runs"] += 1
            is_alike &= compare_outputs(alone, out)
            shutil.rmtree(out)
    return {**counts, "is_alike": is_alike}


def _predict_under_fire(
    images: Path,
    out: Path,
    where: Sequence[str],
    target: tuple[str, Kill, int],
    counts: dict[str, int],
    pick: random.Random,
) -> None:
    """Predict to the end, however often it takes; count what is killed."""
    name, kill, wanted = target
    while True:
        counts["starts"] += 1
        client = start_prediction([images], out, _FORMATS, where)
        process = psutil.Process(client.pid)
        while client.poll() is None:
            if not wait_for_progress(client, out, pick) or counts[name] >= wanted:
                continue
            if pick.random() < _CLIENT_SHARE:
                client.kill()
                counts["client"] += 1
            elif kill(process, pick):
                counts[name] += 1
        if client.returncode == 0:
            return


def wait_for_progress(client: subprocess.Popen, out: Path, pick: random.Random) -> bool:
    """Wait until a unit is done and a moment longer; False if the client ends before."""
    before, end = count_units(out), time.monotonic() + _PATIENCE_S
    while count_units(out) <= before and time.monotonic() < end:
        if client.poll() is not None:
            return False
        time.sleep(0.1)
    time.sleep(pick.uniform(0, 1))
    return client.poll() is None


def count_units(out: Path) -> int:
    """Count the images and parts of images that are done."""
    return len(list(out.glob("*.done.json"))) + len(list(out.glob(".units/**/*.npz")))


def kill_worker(client: psutil.Process, pick: random.Random) -> bool:
    """Kill one of a client's local workers; False if there is none."""
    try:
        family = client.children(recursive=True)
        workers = [one for one in family if "spawn_main" in " ".join(one.cmdline())]
        if workers:
            pick.choice(workers).kill()
        return bool(workers)
    except psutil.NoSuchProcess:
        return False


def cancel_job(partition: str, client: psutil.Process, pick: random.Random) -> bool:
    """Cancel one of the running jobs that this benchmark submitted; False if there is none."""
    command = ["squeue", "--noheader", "--states=RUNNING", "--format=%A", f"--user={os.getuid()}"]
    command += [f"--partition={partition}", f"--name={JOB_NAME}"]
    jobs = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    if jobs:
        subprocess.run(["scancel", pick.choice(jobs)], check=True)
    return bool(jobs)


def compare_outputs(first: Path, second: Path) -> bool:
    """Return whether two folders hold the same outputs, byte for byte."""
    return _read_outputs(first) == _read_outputs(second)


def _read_outputs(folder: Path) -> dict[str, bytes]:
    """Read all outputs but the table of the cohort, which has seconds and workers."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith((".", "cohort."))
    }
