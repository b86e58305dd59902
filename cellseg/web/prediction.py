"""Find cells for many pages with one model: one image at a time, tile by tile."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from mmengine.logging import print_log

from cellseg.errors import CellsegError
from cellseg.images import ImageSource
from cellseg.inference.predictor import TileCells
from cellseg.inference.scale_choice import ScaleChoice
from cellseg.inference.tile_plan import TilePlan
from cellseg.palette import Color
from cellseg.structures.cells import Cells
from cellseg.web.edit_log import EditStep, Outline
from cellseg.web.page_images import OpenImage, OpenImages, PageImage
from cellseg.web.placing import find_covered, is_open_ground, list_found, move_core
from cellseg.web.rings import encode_masks
from cellseg.web.sessions import FullError
from cellseg.web.tile_pyramid import PyramidRegion

MOST_WAITING = 32
_LONGEST_END_S = 1.0


class CellFinder(Protocol):
    """What the page asks of a `Predictor`."""

    class_names: tuple[str, ...]
    palette: list[Color]
    image_format: dict[str, Any]
    score_thr: float

    @property
    def model_name(self) -> str:
        """What to call the model."""

    def choose_scale(self, source: ImageSource) -> ScaleChoice:
        """Choose the scale of an image."""

    def plan_tiles(self, size: ImageSource, choice: ScaleChoice | None = None) -> TilePlan:
        """Plan the tiles of an image."""

    def predict_batches(
        self,
        source: ImageSource,
        plan: TilePlan,
        batches: Sequence[int] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> TileCells:
        """Find the cells of some batches of tiles."""

    def merge(self, source: ImageSource, plan: TilePlan, found: TileCells) -> Cells:
        """Merge the cells of all tiles."""

    def warn_of_surprises(
        self, cells: Cells, source: ImageSource, choice: ScaleChoice, where: str
    ) -> list[str]:
        """Say where an image is unlike those of the training."""


@dataclass(eq=False)
class Job:
    """One prediction, waiting, under way or done.

    Attributes:
        image: The image.
        outline: The region; None for the whole image.
        scale: The scale that was asked for; None to have it chosen.
        model: The model's name.
        state: waiting, running, done, stopped or failed.
        words: What to say about it.
        done: Tiles done.
        total: Tiles there are.
        found: Cells found so far, for the page to draw until the result is there.
        cancelled: Whether to stop; what was found until then stays.
    """

    image: PageImage
    outline: Outline | None
    scale: float | None
    model: str
    state: str = "waiting"
    words: str = ""
    done: int = 0
    total: int = 0
    began: float = 0.0
    found: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    cancelled: bool = False

    @property
    def is_over(self) -> bool:
        """Return whether nothing more happens."""
        return self.state in ("done", "stopped", "failed")

    def describe(self, since: int, ahead: int) -> dict[str, Any]:
        """Return the progress, and the cells found since the last call, for the page."""
        left = None
        if self.state == "running" and self.done:
            left = (time.monotonic() - self.began) / self.done * (self.total - self.done)
        return {
            "state": self.state,
            "words": self.words,
            "warnings": self.warnings,
            "done": self.done,
            "total": self.total,
            "left_s": left,
            "ahead": ahead,
            "found": [] if self.is_over else self.found[since:],
            "count": len(self.found),
        }


class PredictionQueue:
    """Runs jobs one after another in a thread.

    Args:
        finder: The model; its score threshold is the lowest that a page can show.
        images: The open images.
        others: What loads further models of the same classes, by their names. The one that was
            used last is kept.
    """

    def __init__(
        self,
        finder: CellFinder,
        images: OpenImages,
        others: Mapping[str, Callable[[], CellFinder]] | None = None,
    ) -> None:
        """Start without jobs; see the class."""
        self.finder, self.images = finder, images
        self._others = dict(others or {})
        self._kept: tuple[str, CellFinder] | None = None
        self._jobs: dict[PageImage, Job] = {}
        self._waiting: deque[Job] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="prediction", daemon=True)
        self._thread.start()

    @property
    def models(self) -> list[str]:
        """The names of all models, the first one's first."""
        return [self.finder.model_name, *self._others]

    def start(
        self,
        image: PageImage,
        outline: Outline | None,
        scale: float | None,
        model: str | None = None,
    ) -> Job:
        """Add a job; a job of the same image that is not over is stopped.

        Raises:
            CellsegError: If there is no such model.
            FullError: If too many wait.
        """
        model = self.finder.model_name if model is None else model
        if model not in self.models:
            raise CellsegError("There is no such model; reload the page.")
        with self._change:
            before = self._jobs.get(image)
            if before is not None and before in self._waiting:
                self._waiting.remove(before)
            if len(self._waiting) >= MOST_WAITING:
                raise FullError("Too many images wait for the model; try again in a while.")
            if before is not None:
                before.cancelled = True
            job = self._jobs[image] = Job(image, outline, scale, model)
            self.images.busy.add(image)
            self._waiting.append(job)
            self._change.notify_all()
        return job

    def describe(self, image: PageImage, since: int) -> dict[str, Any] | None:
        """Return the progress of an image's job; None where there is none."""
        with self._change:
            job = self._jobs.get(image)
            if job is None:
                return None
            ahead = self._waiting.index(job) + 1 if job in self._waiting else 0
            return job.describe(since, ahead)

    def cancel(self, image: PageImage) -> None:
        """Stop the job of an image, if there is one."""
        with self._change:
            job = self._jobs.get(image)
            if job is not None and not job.is_over:
                job.cancelled = True
                if job in self._waiting:
                    self._waiting.remove(job)
                    job.state, job.words = "stopped", "Stopped."
                    self.images.busy.discard(image)

    def forget(self, image: PageImage) -> None:
        """Stop the job of an image that is removed."""
        self.cancel(image)
        with self._change:
            self._jobs.pop(image, None)

    def close(self) -> bool:
        """Stop everything; return whether all computing has ended."""
        with self._change:
            self._closed = True
            for job in self._jobs.values():
                job.cancelled = True
            self._waiting.clear()
            self._change.notify_all()
        self._thread.join(_LONGEST_END_S)
        return not self._thread.is_alive()

    def _work(self) -> None:
        """Do jobs until closed."""
        while True:
            with self._change:
                while not self._waiting and not self._closed:
                    self._change.wait()
                if self._closed:
                    return
                job = self._waiting.popleft()
                job.state, job.began = "running", time.monotonic()
            try:
                self._run(job)
            except CellsegError as error:
                self._fail(job, str(error).replace(str(job.image.path), job.image.name))
            except Exception as error:
                print_log(f"{job.image.name}: {error!r}", "current", logging.WARNING)
                self._fail(
                    job,
                    f"{job.image.name} could not be processed ({type(error).__name__}: {error}); "
                    "try a smaller region, or `cellseg predict`.",
                )
            finally:
                with self._change:
                    if self._jobs.get(job.image) in (job, None):
                        self.images.busy.discard(job.image)

    def _fail(self, job: Job, words: str) -> None:
        """Note why a job failed."""
        job.state, job.words = "failed", words

    def _run(self, job: Job) -> None:
        """Do one job."""
        image = job.image
        job.words = "Loading the model ..."
        finder = self._load(job.model)
        opened = self.images.open(image)
        pyramid = opened.pyramid
        whole = PyramidRegion(pyramid, (0, 0, pyramid.width, pyramid.height), opened.pixel_size_um)
        job.words = "Choosing the scale ..."
        if job.scale is not None:
            choice = ScaleChoice(job.scale, "given")
        else:
            choice = image.choices.get(job.model) or finder.choose_scale(whole)
            image.choices[job.model] = choice
        source, choice = self._choose_part(job, whole, choice, opened, finder)
        plan = finder.plan_tiles(source, choice)
        job.words, job.total, job.began = choice.describe(), len(plan.tiles), time.monotonic()
        parts, finished = [], []
        for number, batch in enumerate(plan.batches):
            if job.cancelled or image.removed:
                break
            parts.append(finder.predict_batches(source, plan, [number]))
            finished += [move_core(plan.tiles[index], source.box) for index in batch]
            job.found += list_found(parts[-1], plan, source, job.outline)
            job.done += len(batch)
        if image.removed:
            return
        cells = finder.merge(source, plan, TileCells.join(parts))
        moved = cells.offset_to(source.box[0], source.box[1], pyramid.height, pyramid.width)
        if not job.cancelled:
            job.warnings = finder.warn_of_surprises(cells, source, choice, image.name)
        count = self._keep(job, opened, moved, finished)
        words = f"{count:,} {'cell' if count == 1 else 'cells'} with a score of at least "
        words += f"{finder.score_thr:g}, {choice.describe()}"
        if job.cancelled:
            words = f"Stopped after {job.done} of {job.total} tiles: {words}"
        job.words, job.state = words, "stopped" if job.cancelled else "done"

    def _load(self, model: str) -> CellFinder:
        """Load a model, unless it is there."""
        if model not in self._others:
            return self.finder
        if self._kept is None or self._kept[0] != model:
            self._kept = None  # so that no two are in memory beside the first one
            self._kept = (model, self._others[model]())
        return self._kept[1]

    def _choose_part(
        self,
        job: Job,
        whole: PyramidRegion,
        choice: ScaleChoice,
        opened: OpenImage,
        finder: CellFinder,
    ) -> tuple[PyramidRegion, ScaleChoice]:
        """Choose what is shown to the model, at the scale that the whole image has."""
        if job.outline is None:
            return whole, choice
        scale = finder.plan_tiles(whole, choice).scale
        if scale is None:  # the model's own way of showing whole images, which are small
            return whole, choice
        points = np.array(job.outline)
        margin = 64
        low = np.floor(points.min(axis=0) - margin).clip(0, None).astype(int).tolist()
        limit = (whole.width, whole.height)
        high = np.ceil(points.max(axis=0) + margin).clip(None, limit).astype(int).tolist()
        part = PyramidRegion(opened.pyramid, (*low, *high), opened.pixel_size_um)
        return part, ScaleChoice(scale, choice.reason)

    def _keep(
        self, job: Job, opened: OpenImage, cells: Cells, finished: Sequence[tuple[float, ...]]
    ) -> int:
        """Put found cells in place of those that the model found there before; count them."""
        log = opened.log
        with job.image.lock:
            if job.image.removed:
                return 0
            old = [cell for cell in log.cells.values() if cell.score is not None]
            boxes = np.array([cell.box for cell in old], dtype=np.float64).reshape(-1, 4)
            replaced = is_open_ground(boxes, job.outline, finished, log.regions)
            removed = tuple(cell for cell, gone in zip(old, replaced.tolist(), strict=True) if gone)
            new = cells[is_open_ground(cells.boxes, job.outline, None, log.regions)]
            new = new[~find_covered(new, [c for c in log.cells.values() if c.score is None])]
            added = log.new_cells(
                list(encode_masks(new.get_masks())),
                new.labels.tolist(),
                new.confidences.astype(np.float64).round(4).tolist(),
            )
            if added or removed:
                log.apply(EditStep("predict", removed, added))
        return len(added)
