"""Predict a cohort: the whole way from a client to the table of all images.

from distributed import Client
from cellseg.cluster.cohort import predict_cohort

client = Client("tcp://10.0.0.5:8786")
outcomes = predict_cohort(client, PredictorRecipe("nuclei-he"), images, options)
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

from distributed import Client

from cellseg.cluster.clients import Connection
from cellseg.cluster.cohort_job import CohortJob
from cellseg.cluster.cohort_table import TABLE_NAME, write_cohort
from cellseg.cluster.progress import Say
from cellseg.inference.image_list import InputImage
from cellseg.inference.image_work import ImageOutcome
from cellseg.inference.output_folder import OutputOptions
from cellseg.inference.predictor_recipe import PredictorRecipe


def predict_cohort(
    connection: Connection | Client,
    recipe: PredictorRecipe,
    images: Sequence[InputImage],
    options: OutputOptions,
    say: Say | None = None,
    scratch: Path | None = None,
    scratch_gib: float = 100.0,
) -> list[ImageOutcome]:
    """Predict images on the workers of a client, and write cohort.csv and its picture.

    Args:
        connection: From `clients.connect` or the like, or any client of Dask.
        recipe: How to build the predictor; its paths must mean the same on all workers.
        images: From `find_input_images` or `list_remote_images`.
        options: What to write, and where; all workers must see that folder.
        say: Called with each line for the user.
        scratch: Folder on the workers for copies of images elsewhere; the system's when None.
        scratch_gib: Largest copy of a worker.

    Returns:
        One outcome per image, in their order.

    Raises:
        CellsegError: See `CohortJob.run`.
    """
    if isinstance(connection, Client):
        connection = Connection(connection, None, None, "Workers of the given client")
    say = say or (lambda line: None)
    client = connection.client
    say(f"{connection.description}; {describe_dashboard(client)}")
    job = CohortJob(client, recipe, images, options, connection.threads, say, scratch, scratch_gib)
    try:
        outcomes = job.run(connection.wanted, connection.refill)
    finally:
        if job.outcomes:
            write_cohort(job.images, job.outcomes, job.workers_of, job.class_names, options)
    say(f"Table of all images: {options.folder / TABLE_NAME}")
    return outcomes


def describe_dashboard(client: Client) -> str:
    """Say where the scheduler's dashboard is, or what it lacks."""
    try:
        link = client.dashboard_link
        client.run_on_scheduler(importlib.metadata.version, "bokeh")
    except importlib.metadata.PackageNotFoundError:
        return "no dashboard (pip install bokeh where the scheduler runs)"
    except Exception:  # it was started without one, or does not tell
        return "no dashboard"
    return f"dashboard: {link}" if link else "no dashboard"
