"""What runs on a worker: it checks itself, loads the model once, and does one unit at a time."""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import torch
from distributed import Worker, get_worker
from mmengine.logging import MMLogger

from cellseg.cluster.orders import (
    LargeImage,
    Unit,
    UnitResult,
    WorkerFacts,
    WorkOrder,
    list_versions,
    sum_up,
)
from cellseg.cluster.parts import PartStore
from cellseg.cluster.remote_files import drop_copy, fetched
from cellseg.errors import CellsegError
from cellseg.inference.image_list import InputImage
from cellseg.inference.image_work import ImageWork, fail
from cellseg.inference.tile_plan import TilePlan

_UNIT_LOCK = threading.Lock()  # the model serves one unit at a time, however many threads there are


class RefusalError(CellsegError):
    """This worker cannot be used, and why."""


class RunEndedError(CellsegError):
    """The run that asked for this unit has ended."""


def do_unit(order: WorkOrder, unit: Unit) -> UnitResult:
    """Do one unit.

    Args:
        order: What is alike for all units of the run.
        unit: The unit.

    Returns:
        What became of it; a failure of the image is an outcome, not an exception.
    """
    with _UNIT_LOCK:
        begin = time.perf_counter()
        try:
            work = _load_work(order)
            _set_threads(order)
            with fetched(unit.image, order.scratch, order.scratch_gib) as image:
                result = _do(order, work, replace(unit, image=image))
            if result.outcome is not None:
                drop_copy()
        except RefusalError as error:
            return UnitResult(name_worker(), refusal=str(error), address=get_worker().address)
        except Exception as error:
            result = UnitResult(name_worker(), outcome=fail(unit.image, _explain(unit, error)))
        result.seconds = time.perf_counter() - begin
        return result


def check_worker(
    order: WorkOrder, samples: Sequence[Path] = (), dask_worker: Worker | None = None
) -> WorkerFacts:
    """Check that this worker fits the run, before it gets a unit.

    Args:
        order: What is alike for all units of the run.
        samples: Images that it must be able to read.
        dask_worker: Given by Dask: the worker.
    """
    name = name_worker(dask_worker)
    try:
        _check(order, name)
        for path in samples:
            _require_readable(path)
    except RefusalError as error:
        return WorkerFacts(name, refusal=str(error))
    device = order.recipe.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return WorkerFacts(name, _count_threads(order, dask_worker), device)


def name_worker(worker: Worker | None = None) -> str:
    """Name this worker by its host and the name that the scheduler knows it by.

    Args:
        worker: The worker; the one that runs the current task when None.
    """
    return f"{_name_host()}/{(worker or get_worker()).name}"


def _name_host() -> str:
    """Name this machine, as SLURM does where it runs the worker."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def open_parts(order: WorkOrder, work: ImageWork, image: InputImage) -> PartStore:
    """Find where the parts of an image are kept."""
    state = work.folder.fingerprint_of(image)[:16]
    folder = order.units_folder / image.name / state
    return PartStore(folder, work.predictor.class_names)


def _do(order: WorkOrder, work: ImageWork, unit: Unit) -> UnitResult:
    """Do one unit with the model at hand."""
    _require_readable(unit.image.path)
    if unit.kind == "image":
        return _do_image(order, work, unit)
    store = open_parts(order, work, unit.image)
    if unit.kind == "merge":
        found = store.read(unit.parts)
        outcome = work.finish(unit.image, unit.choice, found)
        if outcome.error is None:
            store.remove()
        return UnitResult(name_worker(), outcome=outcome)
    with work.open(unit.image) as source:
        height, width = source.height, source.width
    found = work.find_cells(
        unit.image, unit.choice, range(*unit.part), lambda tiles, cells: _go_on(order)
    )
    _go_on(order)
    store.write(unit.part, found, height, width)
    return UnitResult(name_worker(), batches=unit.part[1] - unit.part[0])


def _do_image(order: WorkOrder, work: ImageWork, unit: Unit) -> UnitResult:
    """Do a whole image, or plan it where it has too many batches for one unit."""
    choice = work.choose_scale(unit.image)
    with work.open(unit.image) as source:
        plan: TilePlan = work.predictor.plan_tiles(source, choice)
        megapixels = source.height * source.width / 1e6
    if len(plan.batches) > unit.most_batches:
        done = tuple(open_parts(order, work, unit.image).list_parts())
        large = LargeImage(choice, len(plan.batches), done, megapixels)
        return UnitResult(name_worker(), large=large)
    outcome = work.do(unit.image, choice, lambda tiles, cells: _go_on(order))
    return UnitResult(name_worker(), batches=len(plan.batches), outcome=outcome)


def _go_on(order: WorkOrder) -> None:
    """Raise RunEndedError once the run is over, so that workers stop."""
    try:
        current = order.token_path.read_text("utf-8")
    except OSError:
        current = ""
    if current != order.token:
        raise RunEndedError("The run that asked for this unit has ended.")


@lru_cache(maxsize=1)
def _load_work(order: WorkOrder) -> ImageWork:
    """Build the predictor, once per run and worker."""
    _check(order, name_worker())
    _set_threads(order)
    if multiprocessing.parent_process() is not None:  # the client has said what is alike for all
        MMLogger.get_current_instance().setLevel(logging.WARNING)
    predictor = order.recipe.build()
    settings = order.recipe.describe(predictor)
    if sum_up(settings) != order.checksum:
        raise RefusalError(
            f"{name_worker()} has another config or other weights than this machine; copy the "
            "files there again, or put them on a shared disk."
        )
    return ImageWork(predictor, order.options, settings)


def _check(order: WorkOrder, name: str) -> None:
    """Raise RefusalError where versions differ, or files cannot be seen."""
    try:
        os.chdir(order.cwd)  # paths are as the user gave them, so that records are alike
    except OSError as error:
        raise _refuse(order.cwd) from error
    for package, version in list_versions().items():
        if order.versions.get(package) != version:
            raise RefusalError(
                f"{name} has {package} {version}, this machine {order.versions.get(package)}; "
                "install the same version on both."
            )
    try:
        seen = order.token_path.read_text("utf-8")
    except OSError:
        seen = ""
    if seen != order.token:
        raise _refuse(order.options.folder)
    for path in _list_model_files(order):
        if not Path(path).expanduser().exists():
            raise _refuse(path)
    if not os.access(order.options.folder, os.W_OK):
        host = _name_host()
        raise RefusalError(f"{host} cannot write to {order.options.folder}; give it permission.")


def is_readable(image: InputImage) -> bool:
    """Return whether this process may read an image; one elsewhere is copied when it is needed."""
    return image.url is not None or os.access(image.path, os.R_OK)


def _require_readable(path: Path) -> None:
    """Raise RefusalError where an image cannot be read here."""
    if not os.access(path, os.R_OK):
        raise _refuse(path)


def _refuse(path: str | Path) -> RefusalError:
    """Say that this machine cannot read a path."""
    return RefusalError(f"{_name_host()} cannot read {path}: is it on a shared disk?")


def _list_model_files(order: WorkOrder) -> list[str]:
    """List the files that the predictor is built from, as far as they are named by path."""
    recipe = order.recipe
    pairs = [(recipe.config, recipe.checkpoint), *recipe.ensemble]
    named = [path for pair in pairs for path in pair if path is not None]
    return [path for path in map(str, named) if os.sep in path]


def _count_threads(order: WorkOrder, worker: Worker | None = None) -> int:
    """Return how many threads this worker computes with."""
    return order.threads or max(1, (worker or get_worker()).state.nthreads)


def _set_threads(order: WorkOrder) -> None:
    """Set the threads of this process and of the calling thread, where OpenMP keeps its number."""
    torch.set_num_threads(_count_threads(order))
    cv2.setNumThreads(0)


def _explain(unit: Unit, error: Exception) -> Exception:
    """Return an error whose text says what to do where a worker's memory was too small."""
    if isinstance(error, MemoryError):
        return CellsegError(
            f"{unit.image.path}: the worker's memory was too small; give fewer workers on the "
            "machine, or more memory."
        )
    return error
