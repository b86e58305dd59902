"""What is done for one image of a run: open it, choose its scale, find its cells, write them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from mmengine.logging import print_log

from cellseg.errors import CellsegError
from cellseg.formats.outputs import write_outputs
from cellseg.images import ImageSource, open_image
from cellseg.inference.image_list import InputImage
from cellseg.inference.output_folder import OutputFolder, OutputOptions
from cellseg.inference.predictor import Predictor, TileCells
from cellseg.inference.scale_choice import ScaleChoice
from cellseg.inference.tile_plan import TilePlan
from cellseg.structures.cells import Cells

Progress = Callable[[int, int], None]
FINEST_UM, COARSEST_UM = 0.05, 5.0
"""Pixel sizes of files outside of this are taken for a mistake: no microscope of cells has them."""


@dataclass
class ImageOutcome:
    """What became of one image; `error` says in a sentence why it failed.

    Attributes:
        name: The image's name.
        cells: How many cells were written.
        tiles: How many tiles were done, `background_tiles` of them skipped as background.
        background_tiles: See tiles.
        seconds: How long it took, summed over all that worked on it.
        resumed: Whether an earlier run had finished it.
        error: Why it failed; None where it did not.
        notes: What the writers noted.
        height: Height in pixels of the level that was predicted; 0 where the image failed.
        width: Width in pixels.
        pixel_size_um: Side of a pixel in micrometers, where it is known.
        cells_per_class: How many cells of each class were written, by the class's name.
    """

    name: str
    cells: int = 0
    tiles: int = 0
    background_tiles: int = 0
    seconds: float = 0.0
    resumed: bool = False
    error: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    height: int = 0
    width: int = 0
    pixel_size_um: float | None = None
    cells_per_class: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_record(cls, name: str, record: dict[str, Any]) -> ImageOutcome:
        """Describe an image that an earlier run finished, by its record."""
        return cls(
            name,
            record["cells"],
            resumed=True,
            height=record["height"],
            width=record["width"],
            pixel_size_um=record.get("pixel_size_um"),
            cells_per_class=record.get("cells_per_class") or {},
        )


class ImageWork:
    """Find and write the cells of single images, the same way in every process of a run.

    Args:
        predictor: The model, its score threshold low enough for all outputs.
        options: What to write.
        settings: Whatever else decides the result (checkpoint, flags); outputs made with other
            settings are made again.
    """

    def __init__(
        self,
        predictor: Predictor,
        options: OutputOptions,
        settings: dict[str, Any] | None = None,
    ) -> None:
        """Keep the parts; see the class."""
        self.predictor = predictor
        self.options = options
        everything = {**(settings or {}), "tiling": asdict(predictor.tiling)}
        self.folder = OutputFolder(options, predictor.class_names, everything)
        self._told_reasons: set[str] = set()

    def open(self, image: InputImage) -> ImageSource:
        """Open an image as the options say.

        Raises:
            CellsegError: If it cannot be read, or gives an impossible pixel size.
        """
        options = self.options
        source = open_image(
            image.path, self.predictor.image_format, options.mpp, options.pixel_size_um
        )
        try:
            if options.pixel_size_um is None:
                _check_pixel_size(image, source)
        except CellsegError:
            source.close()
            raise
        return source

    def choose_scale(self, image: InputImage) -> ScaleChoice:
        """Choose the scale of an image, which is only opened where that depends on it."""
        choice = self.predictor.settle_scale()
        if choice is None:
            with self.open(image) as source:
                choice = self.predictor.choose_scale(source)
        if choice.reason not in self._told_reasons:
            self._told_reasons.add(choice.reason)
            print_log(f"{image.origin}: {choice.describe()}", "current")
        return choice

    def find_cells(
        self,
        image: InputImage,
        choice: ScaleChoice | None,
        batches: Sequence[int],
        progress: Progress | None = None,
    ) -> TileCells:
        """Find the cells of some batches of an image's tiles."""
        with self.open(image) as source:
            plan = self.predictor.plan_tiles(source, choice)
            return self.predictor.predict_batches(source, plan, batches, progress)

    def do(
        self, image: InputImage, choice: ScaleChoice | None, progress: Progress | None = None
    ) -> ImageOutcome:
        """Predict and write one image in this process; a failure becomes its outcome."""
        begin = time.perf_counter()
        try:
            with self.open(image) as source:
                plan = self.predictor.plan_tiles(source, choice)
                found = self.predictor.predict_batches(source, plan, progress=progress)
                return self._write(image, source, plan, choice, found, begin)
        except Exception as error:
            return fail(image, error)

    def finish(
        self, image: InputImage, choice: ScaleChoice | None, found: TileCells
    ) -> ImageOutcome:
        """Merge and write an image whose tiles were predicted in parts."""
        begin = time.perf_counter()
        try:
            with self.open(image) as source:
                plan = self.predictor.plan_tiles(source, choice)
                return self._write(image, source, plan, choice, found, begin)
        except Exception as error:
            return fail(image, error)

    def _write(
        self,
        image: InputImage,
        source: ImageSource,
        plan: TilePlan,
        choice: ScaleChoice | None,
        found: TileCells,
        begin: float,
    ) -> ImageOutcome:
        """Merge and write one image; the record that marks it as finished comes last."""
        options = self.options
        cells = self.predictor.merge(source, plan, found)
        shown = cells[cells.confidences >= options.score_thr]
        stem, palette = self.folder.stem_of(image), self.predictor.palette
        notes = write_outputs(shown, source, stem, list(options.formats), palette)
        self._report_missing_um(image, source)
        if choice is not None:
            notes["scale"] = choice.describe()
            warnings = self.predictor.warn_of_surprises(shown, source, choice, image.origin)
            if warnings:
                notes["warnings"] = warnings
        facts: dict[str, Any] = {
            "height": source.height,
            "width": source.width,
            "pixel_size_um": source.pixel_size_um,
            "cells": len(shown),
            "cells_per_class": count_classes(shown),
            "tiles": found.num_tiles,
            "background_tiles": found.num_background,
            "notes": notes,
        }
        self.folder.finish(image, facts)
        return ImageOutcome(image.name, seconds=time.perf_counter() - begin, **facts)

    def _report_missing_um(self, image: InputImage, source: ImageSource) -> None:
        """Log, once for each reason, why a table has no columns in micrometers."""
        has_table = {"csv", "parquet"} & set(self.options.formats)
        reason = source.pixel_size_note
        if has_table and source.pixel_size_um is None and reason not in self._told_reasons:
            self._told_reasons.add(reason)
            print_log(
                f"{image.origin}: its table has no um columns, because {reason}; give the pixel "
                "size with --pixel-size. Further images of this kind are not mentioned.",
                "current",
                logging.WARNING,
            )


def count_classes(cells: Cells) -> dict[str, int]:
    """Count the cells of each class, by its name; classes without a cell count 0."""
    counts = np.bincount(cells.labels, minlength=len(cells.class_names))
    return dict(zip(cells.class_names, counts.tolist(), strict=True))


def fail(image: InputImage, error: Exception) -> ImageOutcome:
    """Report an image that cannot be predicted or written."""
    text = str(error).strip() or type(error).__name__
    text = text.replace(str(image.path), image.origin)
    if image.origin not in text:
        text = f"{image.origin}: {type(error).__name__}: {text}"
    print_log(text, "current", logging.WARNING)  # of an ERROR, MMEngine shows its own source line
    return ImageOutcome(image.name, error=text)


def _check_pixel_size(image: InputImage, source: ImageSource) -> None:
    """Raise CellsegError where a file gives a pixel size that cannot be true."""
    if source.pixel_size_um is None:
        return
    finest = source.pixel_size_um / source.downsample
    if not FINEST_UM <= finest <= COARSEST_UM:
        raise CellsegError(
            f"{image.path}: gives a pixel size of {finest:g} um, which is outside {FINEST_UM:g} to "
            f"{COARSEST_UM:g} um; give the true one with --pixel-size."
        )
