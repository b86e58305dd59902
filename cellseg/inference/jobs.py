"""Predict many images into a folder: resumable, in one process or many, past bad files."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from torch import distributed

from cellseg.errors import CellsegError
from cellseg.fileio import write_atomically
from cellseg.inference.cells import Cells
from cellseg.inference.image_list import RECORD_SUFFIX, InputImage, list_written_names
from cellseg.inference.image_source import ImageSource
from cellseg.inference.predictor import Predictor
from cellseg.inference.sources import open_image
from cellseg.inference.tiles import Tile, check_range
from cellseg.inference.writers import output_files, write_outputs
from cellseg.inference.writers.coco_json import BoxFormat, write_coco_results, write_submission

Progress = Callable[[int, int], None]
_SHARED_BATCHES = 4  # an image of at least so many batches a process is shared out tile by tile


@dataclass(frozen=True)
class OutputOptions:
    """What is written, and how images are read.

    Attributes:
        folder: Where outputs go.
        formats: Keys of `writers.FORMATS`.
        score_thr: Cells below this are not written.
        mpp: Pixel size to predict at, in micrometres; that of the file when None.
        pixel_size_um: Pixel size of the files, where they do not tell.
        submission_index: Rows of the test index by file name, to write a submission.
        box_format: Boxes in the submission.
    """

    folder: Path
    formats: tuple[str, ...]
    score_thr: float = 0.5
    mpp: float | None = None
    pixel_size_um: float | None = None
    submission_index: dict[str, dict[str, Any]] | None = None
    box_format: BoxFormat = "xywh"

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            CellsegError: If one makes no sense, so that it is said before an image is read.
        """
        check_range("The score threshold", self.score_thr, 0, 1)
        check_range("The pixel size to predict at", self.mpp, 0, open_end=True)
        check_range("The pixel size of the files", self.pixel_size_um, 0, open_end=True)


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
            settings are made anew.
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
        shown = {**asdict(options), "folder": "", "formats": "", "submission_index": ""}
        self._settings = {**(settings or {}), "options": shown, "tiling": asdict(predictor.tiling)}
        self._failed: set[str] = set()

    def run(self, progress: Progress | None = None) -> list[ImageOutcome]:
        """Predict what is not finished yet.

        Args:
            progress: Called with the tiles done and the cells found since the last call.

        Returns:
            One outcome an image, in their order; in processes other than 0, those of their share.

        Raises:
            CellsegError: If an output would replace one of the images.
        """
        # Another process may have listed the inputs when outputs were already among them.
        plan = (self.images, *self._plan()) if _rank() == 0 else None
        self.images, finished, shared = _broadcast(plan)
        outcomes: dict[int, ImageOutcome] = dict(finished)
        alone = [
            index
            for index in range(len(self.images))
            if index not in outcomes and index not in shared
        ]
        for place in self.predictor.share_of(alone):
            outcomes[alone[place]] = self._do_alone(self.images[alone[place]], progress)
        for index in shared:
            outcomes[index] = self._do_together(self.images[index], progress)
        gathered = _gather(outcomes)
        if _rank() == 0:
            for other in gathered[1:]:
                outcomes.update(
                    {index: outcome for index, outcome in other.items() if index not in shared}
                )
        self._failed = {one.name for one in outcomes.values() if one.error is not None}
        return [outcomes[index] for index in sorted(outcomes)]

    def write_submission(self, path: Path) -> int:
        """Collect the parts of the submission into one zip file, those of failed images left out.

        Returns:
            How many images of the index have no prediction.

        Raises:
            CellsegError: If no image was predicted; a zip file of an earlier run is kept.
        """
        index = self.options.submission_index or {}
        parts = [
            self._part_path(image)
            for image in sorted(self.images, key=lambda image: image.name)
            if image.name not in self._failed and self._part_path(image).is_file()
        ]
        if not parts:
            raise CellsegError(
                f"{path} is not written, because none of the {len(self.images)} images was "
                "predicted; mend what failed and run the command again."
            )
        results = [result for part in parts for result in json.loads(part.read_text())]
        write_submission(results, path, index, len(self.predictor.class_names))
        return len(index) - len(parts)

    def _plan(self) -> tuple[dict[int, ImageOutcome], list[int]]:
        """Find which images are finished, and which large ones the processes share."""
        self._refuse_outputs_over_inputs()
        finished: dict[int, ImageOutcome] = {}
        shared = []
        processes = _world_size()
        for index, image in enumerate(self.images):
            outcome = self._finished(image)
            if outcome is not None:
                finished[index] = outcome
            elif processes > 1:
                try:
                    with self._open(image) as source:
                        batches = len(
                            self.predictor.plan_batches(self.predictor.plan_tiles(source))
                        )
                except Exception:  # reported when its turn comes
                    continue
                if batches >= processes * _SHARED_BATCHES:
                    shared.append(index)
        return finished, shared

    def _do_alone(self, image: InputImage, progress: Progress | None) -> ImageOutcome:
        """Predict and write one image in this process."""
        begin = time.perf_counter()
        try:
            self._check_index(image)
            with self._open(image) as source:
                tiles = self.predictor.plan_tiles(source)
                batches = range(len(self.predictor.plan_batches(tiles)))
                parts = self.predictor.predict_batches(source, tiles, batches, progress)
                count = self.predictor.last_count
                return self._finish(
                    image, source, tiles, parts, (count.tiles, count.background), begin
                )
        except Exception as error:
            return _failure(image, error)

    def _do_together(self, image: InputImage, progress: Progress | None) -> ImageOutcome:
        """Predict this process's share of one image's tiles; process 0 merges and writes."""
        begin = time.perf_counter()
        parts: list[tuple[int, Cells]] = []
        counts, failed = (0, 0), None
        try:
            self._check_index(image)
            with self._open(image) as source:
                tiles = self.predictor.plan_tiles(source)
                share = self.predictor.share_of(self.predictor.plan_batches(tiles))
                parts = self.predictor.predict_batches(source, tiles, share, progress)
                counts = (self.predictor.last_count.tiles, self.predictor.last_count.background)
        except Exception as error:
            failed = _failure(image, error)
        gathered = _gather((parts, counts, failed))
        if _rank() != 0:
            return failed or ImageOutcome(image.name)
        failures = [failure for _, _, failure in gathered if failure is not None]
        if failures:
            return failures[0]
        try:
            with self._open(image) as source:
                tiles = self.predictor.plan_tiles(source)
                everything = [part for share_parts, _, _ in gathered for part in share_parts]
                total = tuple(np.sum([count for _, count, _ in gathered], axis=0).tolist())
                return self._finish(image, source, tiles, everything, total, begin)
        except Exception as error:
            return _failure(image, error)

    def _finish(
        self,
        image: InputImage,
        source: ImageSource,
        tiles: Sequence[Tile],
        parts: Sequence[tuple[int, Cells]],
        counts: tuple[int, int],
        begin: float,
    ) -> ImageOutcome:
        """Merge and write one image; the record that marks it as finished comes last."""
        options = self.options
        cells = self.predictor.merge(source, tiles, parts)
        if options.submission_index is not None:
            row = options.submission_index[image.path.name]
            if (row["height"], row["width"]) != (source.height, source.width):
                raise CellsegError(
                    f"{image.path} is {source.height} x {source.width} pixels, but the index "
                    f"says {row['height']} x "
                    f"{row['width']}; submit the images as they were given."
                )
            write_coco_results(cells, self._part_path(image), row["id"], options.box_format)
        shown = cells[cells.scores >= options.score_thr]
        stem = options.folder / image.name
        notes = write_outputs(shown, source, stem, list(options.formats))
        seconds = time.perf_counter() - begin
        outcome = ImageOutcome(
            image.name, len(shown), counts[0], counts[1], seconds=seconds, notes=notes
        )
        before = list_written_names(self._record_path(image))  # of other formats, still there
        record = {
            "image": str(image.path),
            "cells": len(shown),
            "tiles": counts[0],
            "background_tiles": counts[1],
            "formats": list(options.formats),
            "files": sorted({path.name for path in self._output_files(image)} | before),
            "notes": notes,
            "fingerprint": self._fingerprint(image),
        }
        write_atomically(self._record_path(image), json.dumps(record, indent=2) + "\n")
        return outcome

    def _finished(self, image: InputImage) -> ImageOutcome | None:
        """Return the outcome of an earlier run whose outputs are all there and still right."""
        try:
            record = json.loads(self._record_path(image).read_text())
            wanted = self._output_files(image)
            parts = [self._part_path(image)] if self.options.submission_index is not None else []
            done = (
                set(self.options.formats) <= set(record["formats"])
                and record["fingerprint"] == self._fingerprint(image)
                and all(path.is_file() for path in wanted + parts)
            )
            return ImageOutcome(image.name, record["cells"], resumed=True) if done else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _fingerprint(self, image: InputImage) -> str:
        """Sum up everything that decides an image's outputs."""
        state = image.path.stat()
        facts = {**self._settings, "size": state.st_size, "changed": state.st_mtime_ns}
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

    def _open(self, image: InputImage) -> ImageSource:
        """Open an image as the options say."""
        return open_image(
            image.path, self.predictor.image_format, self.options.mpp, self.options.pixel_size_um
        )

    def _check_index(self, image: InputImage) -> None:
        """Raise CellsegError if a submission is wanted and the index does not know the image."""
        index = self.options.submission_index
        if index is not None and image.path.name not in index:
            raise CellsegError(
                f"{image.path} is not in the index of test images, so it has no id to submit."
            )

    def _refuse_outputs_over_inputs(self) -> None:
        """Raise CellsegError if an output would replace one of the images."""
        inputs = {image.path.resolve() for image in self.images}
        folder = self.options.folder.resolve()
        for image in self.images:
            for path in self._output_files(image):
                if folder / path.name in inputs:
                    raise CellsegError(
                        f"{path} would be replaced by an output of {image.path}; predict into "
                        "another folder, or remove the file if a stopped run left it."
                    )

    def _output_files(self, image: InputImage) -> list[Path]:
        """List the files that the formats make for an image."""
        options = self.options
        names = self.predictor.class_names
        return output_files(options.folder / image.name, list(options.formats), names)

    def _record_path(self, image: InputImage) -> Path:
        """Where the record of a finished image lies."""
        return self.options.folder / f"{image.name}{RECORD_SUFFIX}"

    def _part_path(self, image: InputImage) -> Path:
        """Where an image's part of the submission lies."""
        return self.options.folder / ".submission" / f"{image.name}.json"


def _failure(image: InputImage, error: Exception) -> ImageOutcome:
    """Report an image that cannot be predicted or written."""
    text = str(error).strip() or type(error).__name__
    if str(image.path) not in text:
        text = f"{image.path}: {type(error).__name__}: {text}"
    print_log(text, "current", logging.ERROR)
    return ImageOutcome(image.name, error=text)


def _rank() -> int:
    """Return this process's rank, 0 without a launcher."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def _world_size() -> int:
    """Return the number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def _broadcast(value: Any) -> Any:
    """Give process 0's value to all."""
    if _world_size() == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def _gather(value: Any) -> list[Any]:
    """Give all values to process 0, in the order of the processes; others get none of them."""
    if _world_size() == 1:
        return [value]
    values = [None] * _world_size() if _rank() == 0 else None
    distributed.gather_object(value, values, dst=0)
    return values or []
