"""Predict many images into a folder: resumable, in one process or many, past bad files."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from mmengine import dist
from mmengine.logging import print_log

from cellseg.formats.outputs import write_outputs
from cellseg.images import ImageSource, open_image, read_opened_size
from cellseg.images.stain_check import warn_of_swapped_channels
from cellseg.inference.image_list import InputImage
from cellseg.inference.output_folder import OutputFolder, OutputOptions
from cellseg.inference.predictor import Predictor, TileCells
from cellseg.inference.scale_choice import ScaleChoice
from cellseg.inference.tile_plan import TilePlan

Progress = Callable[[int, int], None]
_SHARED_BATCHES = 4  # an image of at least so many batches a process is shared out tile by tile


@dataclass
class ImageOutcome:
    """What became of one image; `error` says in a sentence why it failed."""

    name: str
    cells: int = 0
    tiles: int = 0
    background_tiles: int = 0
    seconds: float = 0.0
    resumed: bool = False
    error: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)


class PredictionJob:
    """Predict a list of images.

    Under a launcher, every process makes the same job; images are shared out, large ones tile by
    tile, and process 0 returns all outcomes. The outputs are those of a single process, byte for
    byte.

    Args:
        predictor: The model, its score threshold low enough for all outputs.
        images: From `find_input_images`.
        options: What to write.
        settings: Whatever else decides the result (checkpoint, flags); outputs made with other
            settings are made again.
    """

    def __init__(
        self,
        predictor: Predictor,
        images: Sequence[InputImage],
        options: OutputOptions,
        settings: dict[str, Any] | None = None,
    ) -> None:
        """Keep the parts; see the class."""
        self.predictor = predictor
        self.images = list(images)
        self.options = options
        everything = {**(settings or {}), "tiling": asdict(predictor.tiling)}
        self._told_reasons: set[str] = set()
        self._choices: dict[str, ScaleChoice] = {}
        self._folder = OutputFolder(options, predictor.class_names, everything)

    def run(
        self,
        progress: Progress | None = None,
        announce: Callable[[int], None] | None = None,
    ) -> list[ImageOutcome]:
        """Predict what is not finished yet.

        Args:
            progress: Called with the tiles done and the cells found since the last call; merging
                tiles lowers the cells later.
            announce: Called once, before the first tile, with the tiles that this process will do.

        Returns:
            One outcome per image, in their order; in processes other than 0, those of their share.

        Raises:
            CellsegError: If an output would replace one of the images or the outputs of another
                one, or another job writes into the folder.
        """
        if dist.get_rank() == 0:
            self._folder.take()
        try:
            return self._run(progress, announce)
        finally:
            self._folder.release()

    def _run(
        self, progress: Progress | None, announce: Callable[[int], None] | None
    ) -> list[ImageOutcome]:
        """Predict what is not finished yet, the folder being this job's; see `run`."""
        # Another process may have listed the inputs when outputs were already among them.
        plan: list[Any] = [(self.images, *self._plan()) if dist.get_rank() == 0 else None]
        dist.broadcast_object_list(plan, src=0)
        self.images, finished, batches, self._choices = plan[0]
        outcomes: dict[int, ImageOutcome] = dict(finished)
        least = dist.get_world_size() * _SHARED_BATCHES if dist.get_world_size() > 1 else math.inf
        shared = [index for index, sizes in batches.items() if len(sizes) >= least]
        others = [index for index, sizes in batches.items() if len(sizes) < least]
        alone = [others[place] for place in self.predictor.share_of(others)]
        if announce is not None:
            parts = [
                batches[index][place]
                for index in shared
                for place in self.predictor.share_of(batches[index])
            ]
            announce(sum(parts) + sum(sum(batches[index]) for index in alone))
        for index in alone:
            outcomes[index] = self._do_alone(self.images[index], progress)
        for index in shared:
            outcomes[index] = self._do_together(self.images[index], progress)
        gathered = _gather(outcomes)
        if dist.get_rank() == 0:
            for other in gathered[1:]:
                outcomes.update(
                    {index: outcome for index, outcome in other.items() if index not in shared}
                )
            if "coco" in self.options.formats:
                self._folder.join_coco(self.images)
        return [outcomes[index] for index in sorted(outcomes)]

    def _plan(
        self,
    ) -> tuple[dict[int, ImageOutcome], dict[int, list[int]], dict[str, ScaleChoice]]:
        """Find which images are finished, and the batches of the others: how many tiles each has.

        An image that cannot be used has no batches; it is reported when its turn comes. The scale
        of each image, by its name, is chosen here: all processes must cut it alike.
        """
        self._folder.refuse_replacing(self.images)
        self._folder.refuse_mixing(self.images)
        warn_of_swapped_channels(
            [image.path for image in self.images],
            self.predictor.image_format,
            "--channel-order {order}",
        )
        finished: dict[int, ImageOutcome] = {}
        batches: dict[int, list[int]] = {}
        choices: dict[str, ScaleChoice] = {}
        for index, image in enumerate(self.images):
            record = self._folder.read_finished(image)
            if record is not None:
                finished[index] = ImageOutcome(image.name, record["cells"], resumed=True)
                continue
            batches[index] = []
            with suppress(Exception):
                choice = choices[image.name] = self._choose_scale(image)
                size = read_opened_size(image.path, self.options.mpp, self.options.pixel_size_um)
                plan = self.predictor.plan_tiles(size, choice)
                batches[index] = [len(batch) for batch in plan.batches]
        self._folder.remove_half_written([self.images[index] for index in batches])
        return finished, batches, choices

    def _choose_scale(self, image: InputImage) -> ScaleChoice:
        """Choose the scale of an image, which is only opened where that depends on it."""
        choice = self.predictor.settle_scale()
        if choice is None:
            with self._open(image) as source:
                choice = self.predictor.choose_scale(source)
        if choice.reason not in self._told_reasons:
            self._told_reasons.add(choice.reason)
            print_log(f"{image.path}: {choice.describe()}", "current")
        return choice

    def _do_alone(self, image: InputImage, progress: Progress | None) -> ImageOutcome:
        """Predict and write one image in this process."""
        begin = time.perf_counter()
        try:
            with self._open(image) as source:
                plan = self.predictor.plan_tiles(source, self._choices.get(image.name))
                found = self.predictor.predict_batches(source, plan, progress=progress)
                return self._finish(image, source, plan, found, begin)
        except Exception as error:
            return _failure(image, error)

    def _do_together(self, image: InputImage, progress: Progress | None) -> ImageOutcome:
        """Predict this process's share of one image's tiles; process 0 merges and writes."""
        begin = time.perf_counter()
        found, failed = TileCells(), None
        try:
            with self._open(image) as source:
                plan = self.predictor.plan_tiles(source, self._choices.get(image.name))
                share = self.predictor.share_of(plan.batches)
                found = self.predictor.predict_batches(source, plan, share, progress)
        except Exception as error:
            failed = _failure(image, error)
        gathered = _gather((found, failed))
        if dist.get_rank() != 0:
            return failed or ImageOutcome(image.name)
        failures = [failure for _, failure in gathered if failure is not None]
        if failures:
            return failures[0]
        try:
            with self._open(image) as source:
                everything = TileCells.join([share for share, _ in gathered])
                return self._finish(image, source, plan, everything, begin)
        except Exception as error:
            return _failure(image, error)

    def _finish(
        self,
        image: InputImage,
        source: ImageSource,
        plan: TilePlan,
        found: TileCells,
        begin: float,
    ) -> ImageOutcome:
        """Merge and write one image; the record that marks it as finished comes last."""
        options = self.options
        cells = self.predictor.merge(source, plan, found)
        shown = cells[cells.confidences >= options.score_thr]
        stem, palette = self._folder.stem_of(image), self.predictor.palette
        notes = write_outputs(shown, source, stem, list(options.formats), palette)
        self._report_missing_um(image, source)
        choice = self._choices.get(image.name)
        if choice is not None:
            notes["scale"] = choice.describe()
            warnings = self.predictor.warn_of_surprises(shown, source, choice, str(image.path))
            if warnings:
                notes["warnings"] = warnings
        seconds = time.perf_counter() - begin
        facts = {
            "height": source.height,
            "width": source.width,
            "cells": len(shown),
            "tiles": found.num_tiles,
            "background_tiles": found.num_background,
            "notes": notes,
        }
        self._folder.finish(image, facts)
        return ImageOutcome(
            image.name,
            len(shown),
            found.num_tiles,
            found.num_background,
            seconds=seconds,
            notes=notes,
        )

    def _report_missing_um(self, image: InputImage, source: ImageSource) -> None:
        """Log, once for each reason, why a table has no columns in micrometers."""
        has_table = {"csv", "parquet"} & set(self.options.formats)
        reason = source.pixel_size_note
        if has_table and source.pixel_size_um is None and reason not in self._told_reasons:
            self._told_reasons.add(reason)
            print_log(
                f"{image.path}: its table has no um columns, because {reason}; give the pixel "
                "size with --pixel-size. Further images of this kind are not mentioned.",
                "current",
                logging.WARNING,
            )

    def _open(self, image: InputImage) -> ImageSource:
        """Open an image as the options say."""
        return open_image(
            image.path, self.predictor.image_format, self.options.mpp, self.options.pixel_size_um
        )


def _failure(image: InputImage, error: Exception) -> ImageOutcome:
    """Report an image that cannot be predicted or written."""
    text = str(error).strip() or type(error).__name__
    if str(image.path) not in text:
        text = f"{image.path}: {type(error).__name__}: {text}"
    print_log(text, "current", logging.ERROR)
    return ImageOutcome(image.name, error=text)


def _gather(value: Any) -> list[Any]:
    """Give all values to process 0, in the order of the processes; others get none of them."""
    return dist.gather_object(value, dst=0) or []
