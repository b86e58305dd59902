"""Units that wait in place of predicting: how busy workers are, and what a long list costs."""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from timing import time_once

from cellseg.cluster.clients import start_local
from cellseg.cluster.cohort_job import CohortJob
from cellseg.cluster.orders import Unit, UnitResult, WorkOrder
from cellseg.inference.image_list import InputImage
from cellseg.inference.image_work import ImageOutcome
from cellseg.inference.output_folder import OutputOptions
from cellseg.inference.predictor_recipe import PredictorRecipe

# workers import `wait_unit` by the name of this module
_PATHS = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, _PATHS))


def wait_unit(order: WorkOrder, unit: Unit) -> UnitResult:
    """Stand in for a unit: wait for as long as the image's name says."""
    seconds = float(unit.image.name.split("_")[1])
    time.sleep(seconds)
    outcome = ImageOutcome(
        unit.image.name, 1, height=1000, width=1000, cells_per_class={"nucleus": 1}
    )
    return UnitResult("worker", seconds, 1, outcome)


def make_waiting_job(client: Any, count: int, seconds: float, folder: Path) -> CohortJob:
    """Make a run whose units wait; its images need not exist."""
    image = folder / "image.tif"
    image.touch()
    images = [InputImage(image, f"{number}_{seconds}") for number in range(count)]
    job = CohortJob(client, PredictorRecipe(), images, OutputOptions(folder, ("csv",)))
    job.do_unit = wait_unit
    return job


def measure_waiting(workers: int, units: int, seconds: float) -> dict[str, float]:
    """Measure the share of the time in which workers are busy."""
    with tempfile.TemporaryDirectory() as name, start_local(workers) as connection:
        connection.client.wait_for_workers(workers, timeout=300)
        warm = make_waiting_job(connection.client, workers, 0.1, Path(name))
        warm.run_units()  # imports are not measured
        job = make_waiting_job(connection.client, units * workers, seconds, Path(name))
        return {"busy": units * seconds / time_once(job.run_units)}


def measure_memory(images: int) -> dict[str, float]:
    """Measure what a list of images adds to this process's memory, and the seconds it takes."""
    with tempfile.TemporaryDirectory() as name, start_local(2) as connection:
        connection.client.wait_for_workers(2, timeout=300)
        make_waiting_job(connection.client, 50, 0.0, Path(name)).run_units()
        with watch_memory() as sizes:
            job = make_waiting_job(connection.client, images, 0.0, Path(name))
            seconds = time_once(job.run_units)
    added = {"mb_after": sizes[-1] - sizes[0], "mb_at_most": max(sizes) - sizes[0]}
    return {**added, "seconds": seconds}


@contextmanager
def watch_memory() -> Iterator[list[float]]:
    """Collect this process's memory in MB: before, during and after a block."""
    process, ended = psutil.Process(), threading.Event()
    sizes = [process.memory_info().rss / 1e6]

    def watch() -> None:
        while not ended.wait(0.1):
            sizes.append(process.memory_info().rss / 1e6)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield sizes
    finally:
        ended.set()
        watching.join()
        sizes.append(process.memory_info().rss / 1e6)
