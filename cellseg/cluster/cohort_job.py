"""Predict many images on Dask's workers: in units, resumable, past workers that die."""

from __future__ import annotations

import contextlib
import queue
import shutil
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distributed import Client, Future, KilledWorker
from distributed.comm import CommClosedError

from cellseg.cluster.crew import TICK_S, Crew
from cellseg.cluster.orders import LargeImage, Unit, UnitResult, WorkOrder, list_versions, sum_up
from cellseg.cluster.parts import Range, cut_rest
from cellseg.cluster.progress import CohortProgress, Say
from cellseg.cluster.unit_sizes import UnitSizes
from cellseg.cluster.worker import do_unit, is_readable
from cellseg.errors import CellsegError
from cellseg.fileio import write_atomically
from cellseg.inference.image_list import InputImage
from cellseg.inference.image_work import ImageOutcome, ImageWork, fail
from cellseg.inference.jobs import check_images
from cellseg.inference.output_folder import OutputOptions
from cellseg.inference.predictor_recipe import PredictorRecipe

_REFILL_S = 20.0  # between requests for workers in place of lost ones
_PATIENCE_S = 60.0  # for a scheduler that no longer answers
_MOST_TRIES = 3  # of a unit that workers cannot even begin


@dataclass
class _OpenImage:
    """A large image that is done in parts."""

    image: InputImage
    large: LargeImage
    waiting: int = 0
    parts: list[Range] = field(default_factory=list)
    seconds: float = 0.0
    is_failed: bool = False


class CohortJob:
    """Predict a list of images on the workers of a client.

    The outputs are those of `PredictionJob`, byte for byte.

    Args:
        client: Connected to a scheduler.
        recipe: How to build the predictor.
        images: From `find_input_images`.
        options: What to write.
        threads: Threads of each worker; its own number when None.
        say: Called with each line for the user.
        scratch: Folder on the workers for copies of images elsewhere; the system's when None.
        scratch_gib: Largest copy of a worker.
    """

    def __init__(
        self,
        client: Client,
        recipe: PredictorRecipe,
        images: Sequence[InputImage],
        options: OutputOptions,
        threads: int | None = None,
        say: Say | None = None,
        scratch: Path | None = None,
        scratch_gib: float = 100.0,
    ) -> None:
        """Build the predictor here, too: what does not fit is said before any worker starts."""
        self.client = client
        self.images = list(images)
        predictor = recipe.build("cpu")
        settings = recipe.describe(predictor)
        self.class_names = predictor.class_names
        self.work = ImageWork(predictor, options, settings)
        self.order = WorkOrder(
            recipe,
            options,
            sum_up(settings),
            list_versions(),
            uuid.uuid4().hex,
            str(Path.cwd()),
            scratch,
            scratch_gib,
            threads,
        )
        self.do_unit = do_unit
        self.outcomes: dict[int, ImageOutcome] = {}
        self.workers_of: dict[str, str] = {}
        self.progress = CohortProgress(len(self.images), say or (lambda line: None))
        self.crew = Crew(client, self.order, self.progress)
        self._places = {image.name: place for place, image in enumerate(self.images)}
        self._sizes = UnitSizes()
        self._open: dict[str, _OpenImage] = {}
        self._ready: deque[Unit] = deque()
        self._running: dict[Future, Unit] = {}
        self._done: queue.SimpleQueue[Future] = queue.SimpleQueue()

    def run(
        self, wanted: int | None = None, refill: Callable[[], object] | None = None
    ) -> list[ImageOutcome]:
        """Predict what is not finished yet.

        Args:
            wanted: How many workers there should be, where that is known.
            refill: Asks for workers in place of lost ones.

        Returns:
            One outcome per image, in their order.

        Raises:
            CellsegError: If no worker fits, the scheduler is gone, an output would replace
                an image or the outputs of another one, or another run writes into the folder.
        """
        folder = self.work.folder
        folder.take()
        try:
            self.outcomes, open_ones = check_images(self.work, self.images)
            for outcome in self.outcomes.values():
                self.progress.add_image(outcome)
            write_atomically(self.order.token_path, self.order.token)
            if open_ones:
                self.crew.expect(wanted, [self.images[place] for place in open_ones])
                try:
                    self.crew.wait()
                    self.crew.check()
                    self._work_through(deque(open_ones), refill)
                except CommClosedError as error:
                    raise _scheduler_gone() from error
            if "coco" in self.order.options.formats:
                folder.join_coco(self.images)
            with contextlib.suppress(OSError):
                shutil.rmtree(self.order.units_folder)
        finally:
            self.order.token_path.unlink(missing_ok=True)  # tells workers to stop
            self._cancel()
            folder.release()
        return [self.outcomes[place] for place in sorted(self.outcomes)]

    def run_units(self) -> None:
        """Work through all images without their folder: for benchmarks, whose units write none."""
        self._work_through(deque(range(len(self.images))), None)

    def _work_through(self, waiting: deque[int], refill: Callable[[], object] | None) -> None:
        """Keep every worker busy until all is done."""
        silent, refilled = 0.0, time.monotonic()
        while waiting or self._ready or self._running:
            workers = self.crew.count()
            for unit in self._next_units(waiting, workers - len(self._running), workers):
                future = self.client.submit(
                    self.do_unit,
                    self.order,
                    unit,
                    key=f"unit-{uuid.uuid4().hex}",
                    pure=False,
                )
                self._running[future] = unit
                future.add_done_callback(self._done.put)
            try:
                future = self._done.get(timeout=TICK_S)
                silent = 0.0
                self._take(future)
            except queue.Empty:
                is_lost = self.client.status != "running"
                silent = silent + TICK_S if is_lost else 0.0
                if silent > _PATIENCE_S:
                    raise _scheduler_gone() from None
            is_short = workers < (self.crew.wanted or 0)
            if refill and is_short and time.monotonic() > refilled + _REFILL_S:
                refilled = time.monotonic()
                refill()
            self.progress.tick(workers, self.crew.wanted)

    def _next_units(self, waiting: deque[int], free: int, workers: int) -> Iterator[Unit]:
        """Give units to workers that are free: parts first, so that few images are open."""
        for _ in range(free):
            if self._ready:
                yield self._ready.popleft()
            elif waiting:
                left = len(waiting)
                most = self._sizes.most_batches_alone(left, workers)
                yield Unit("image", self.images[waiting.popleft()], most)
            else:
                return

    def _take(self, future: Future) -> None:
        """Take what a worker answered."""
        unit = self._running.pop(future, None)
        if unit is None:
            return
        if future.status == "finished":
            self._take_result(unit, future.result())
        elif future.status == "error":
            self._take_error(unit, future.exception())
        elif self.client.status == "running":  # lost on the way
            self._ready.appendleft(unit)
        else:
            raise _scheduler_gone()

    def _take_error(self, unit: Unit, error: Any) -> None:
        """List a unit that killed its workers as failed; give others to another worker."""
        if isinstance(error, KilledWorker):
            error = CellsegError(
                f"{unit.image.path}: three workers or more died while working on it; is it larger "
                "than their memory? The workers' logs say more."
            )
        elif unit.tries < _MOST_TRIES:  # such as a worker without cellseg that joined late
            self._ready.appendleft(replace(unit, tries=unit.tries + 1))
            self.crew.check()
            return
        self._end_image(unit, fail(unit.image, error), "")

    def _take_result(self, unit: Unit, result: UnitResult) -> None:
        """Go on with what a unit found."""
        if result.refusal is not None:
            self._take_refusal(unit, result)
            return
        if result.batches and unit.kind != "merge":
            self._sizes.add(result.batches, result.seconds)
        opened = self._open.get(unit.image.name)
        if opened is not None:
            opened.seconds += result.seconds
        if result.large is not None:
            self._open_large(unit, result)
        elif result.outcome is not None:
            result.outcome.seconds = result.seconds if opened is None else opened.seconds
            self._end_image(unit, result.outcome, result.worker)
        elif opened is not None and not opened.is_failed:
            opened.parts.append(unit.part)
            opened.waiting -= 1
            self.progress.add_batches(opened.image, unit.part[1] - unit.part[0])
            self._merge_if_complete(opened)

    def _take_refusal(self, unit: Unit, result: UnitResult) -> None:
        """Give a unit to another worker; an image that cannot be read here, either, has failed."""
        assert result.refusal is not None
        if not is_readable(unit.image):
            error = CellsegError(f"{unit.image.path} does not exist, or cannot be read; check it.")
            self._end_image(unit, fail(unit.image, error), result.worker)
            return
        self._ready.appendleft(unit)
        self.crew.leave_out({result.address: result.refusal})

    def _open_large(self, unit: Unit, result: UnitResult) -> None:
        """Cut a large image into parts, those left out that an earlier run finished."""
        large = result.large
        assert large is not None
        opened = _OpenImage(unit.image, large, parts=list(large.done), seconds=result.seconds)
        most = self._sizes.most_batches_of_part(large.num_batches, self.crew.count())
        parts = cut_rest(large.num_batches, large.done, most)
        opened.waiting = len(parts)
        self._open[unit.image.name] = opened
        self.progress.add_large(unit.image, large)
        self._ready.extend(Unit("part", unit.image, choice=large.choice, part=p) for p in parts)
        self._merge_if_complete(opened)

    def _merge_if_complete(self, opened: _OpenImage) -> None:
        """Ask for an image's cells to be merged once all of its parts are there."""
        if opened.waiting == 0:
            parts = tuple(sorted(opened.parts))
            unit = Unit("merge", opened.image, choice=opened.large.choice, parts=parts)
            self._ready.appendleft(unit)

    def _end_image(self, unit: Unit, outcome: ImageOutcome, worker: str) -> None:
        """Note what became of an image; further parts of one that failed are left out."""
        place = self._places[unit.image.name]
        if place in self.outcomes:
            return
        opened = self._open.get(unit.image.name)
        if opened is not None:
            opened.is_failed = outcome.error is not None
            self._ready = deque(u for u in self._ready if u.image.name != unit.image.name)
        self.outcomes[place] = outcome
        self.workers_of[unit.image.name] = worker
        self.progress.add_image(outcome)

    def _cancel(self) -> None:
        """Take back the units that workers still have."""
        with contextlib.suppress(Exception):
            if self._running:
                self.client.cancel(list(self._running))
        self._running.clear()


def _scheduler_gone() -> CellsegError:
    """Say that the scheduler is gone."""
    return CellsegError(
        "The scheduler is gone. Finished units are kept; start it and run the same command again."
    )
