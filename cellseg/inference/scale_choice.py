"""Choose how much an image is enlarged for the network, so that its cells look as in training."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from mmengine.logging import print_log

from cellseg.engine.model_record import ModelRecord
from cellseg.errors import CellsegError
from cellseg.images import ImageSource
from cellseg.images.brightness import measure_brightness
from cellseg.inference.cell_size import FindCells, estimate_cell_size
from cellseg.inference.tiles import check_range
from cellseg.structures.cells import Cells

_STRIDE = 64  # of the coarsest feature level
_FINEST = 8.0  # up to here, a scale is rounded to whole strides
_LARGEST_RATIO = 16.0  # of pixel sizes: beyond, one of them is wrong
_SAME_SIZE = 1.25  # estimates are no more exact than that
_FEWEST_CELLS = 10
_DARK, _LIGHT = 80.0, 120.0  # median gray levels of backgrounds


@dataclass(frozen=True)
class ScaleOptions:
    """What the user says about the scale.

    Attributes:
        scale: Network pixels per image pixel; goes before everything else.
        diameter_px: Median diameter of the cells in pixels of the image.
        is_resampled: Whether images are read at a pixel size that the user chose for the model, so
            that they are shown as the training images were.
    """

    scale: float | None = None
    diameter_px: float | None = None
    is_resampled: bool = False

    def __post_init__(self) -> None:
        """Check the numbers; CellsegError if one makes no sense."""
        check_range("The diameter of the cells", self.diameter_px, 1)


@dataclass(frozen=True)
class ScaleChoice:
    """A scale and why it was chosen.

    Attributes:
        factor: Network pixels per image pixel; None for the test pipeline's own way.
        reason: A short text for logs and records.
    """

    factor: float | None
    reason: str

    def describe(self) -> str:
        """Write the choice as one line."""
        scale = "the config's input size" if self.factor is None else f"{self.factor:.3g}"
        return f"scale {scale} ({self.reason})"


def settle_scale(
    options: ScaleOptions, record: ModelRecord | None, constant: float | None
) -> ScaleChoice | None:
    """Choose the scale of all images where it does not depend on them.

    Args:
        options: What the user says.
        record: The model's record; None of a checkpoint without one.
        constant: The factor of the test pipeline, where that is the same for all images.

    Returns:
        The choice; None where each image needs its own.

    Raises:
        CellsegError: If a diameter is given, but the model's is not known.
    """
    if options.scale is not None:
        return ScaleChoice(options.scale, "given")
    known = record.median_diameter_px if record is not None else None
    if options.diameter_px is not None:
        if known is None:
            raise CellsegError(
                "--diameter needs a model whose training cells were measured, and this one's were "
                "not; give --scale instead."
            )
        factor = round_scale(known / options.diameter_px)
        return ScaleChoice(factor, f"cells of {options.diameter_px:g} px, as given")
    if record is None:
        reason = "as its test pipeline says; nothing is recorded of its training images"
        return ScaleChoice(constant, reason)
    if options.is_resampled:
        return ScaleChoice(constant or record.test_scale, "as in training, at the given pixel size")
    if record.test_scale is None or (record.pixel_size_um is None and known is None):
        unknown = " and ".join(record.list_unknown())
        return ScaleChoice(constant, f"as its test pipeline says; unknown: {unknown}")
    return None


def choose_scale(
    source: ImageSource, find: FindCells, record: ModelRecord, constant: float | None
) -> ScaleChoice:
    """Choose the scale of one image: by the pixel sizes, else by the size of its cells.

    Args:
        source: The image.
        find: Finds cells of an image at a scale, those of low scores included.
        record: The model's record, with test_scale known.
        constant: As for `settle_scale`.

    Returns:
        The choice. A scale that is as good as that of training is the test pipeline's own.
    """
    trained = record.test_scale or 1.0
    own_way = ScaleChoice(constant, "")
    note = "its pixel size is unknown"
    if source.pixel_size_um and record.pixel_size_um:
        ratio = source.pixel_size_um / record.pixel_size_um
        sizes = f"{source.pixel_size_um:.3g} um per pixel, {record.pixel_size_um:g} in training"
        if 1 / _LARGEST_RATIO <= ratio <= _LARGEST_RATIO:
            return ScaleChoice(round_scale(trained * ratio), sizes)
        note = f"its pixel size is implausible ({sizes})"
    elif source.pixel_size_um:
        note = "the model's pixel size is unknown"
    diameter, usual = record.median_diameter_px, record.usual_medians_px
    if diameter is None or usual is None:
        return ScaleChoice(constant or trained, f"as in training: {note}")
    estimate = estimate_cell_size(source, find, trained, diameter)
    if estimate is None:
        return ScaleChoice(own_way.factor, f"as in training: {note}, and no cells to measure")
    shown = estimate.diameter_px * trained
    text = f"{note}; cells are about {estimate.diameter_px:.0f} px wide"
    # Large nuclei are no reason to shrink an image: on six images of MoNuSeg that cost 0.07 of AJI.
    # Only what is larger than usual is reduced, just as much as it takes; small cells are enlarged
    # until they look as the median ones did.
    low, high = min(usual[0], diameter / _SAME_SIZE), max(usual[1], diameter * _SAME_SIZE)
    if low <= shown <= high:
        return ScaleChoice(own_way.factor, f"as in training: {text}")
    wanted = diameter if shown < low else high
    return ScaleChoice(round_scale(trained * wanted / shown), text)


def round_scale(scale: float) -> float:
    """Round a scale so that the network's strides are whole pixels of the image.

    Tiles that are moved by whole strides show the network the same as the whole image does.
    """
    return scale if scale > _FINEST else _STRIDE / round(_STRIDE / scale)


def warn_of_other_ground(source: ImageSource, record: ModelRecord | None, where: str) -> str | None:
    """Warn where an image is dark and the model was trained on light ones, or the other way round.

    Args:
        source: The image, open.
        record: The model's record.
        where: The image, for the message.

    Returns:
        The warning, which is logged, too; None where there is none.
    """
    if record is None or record.brightness is None:
        return None
    found, trained = measure_brightness(source), record.brightness
    if found < _DARK and trained > _LIGHT:
        kinds = "a dark background, like fluorescence", "a light one, like stained tissue"
    elif found > _LIGHT and trained < _DARK:
        kinds = "a light background, like stained tissue", "a dark one, like fluorescence"
    else:
        return None
    text = (
        f"{where} has {kinds[0]} (median gray level {found:.0f}), but the model was trained on "
        f"images with {kinds[1]} ({trained:.0f}): do not expect it to find the cells; use a model "
        "for such images."
    )
    print_log(text, "current", logging.WARNING)
    return text


def warn_of_other_sizes(
    cells: Cells, scale: float | None, record: ModelRecord | None, where: str
) -> str | None:
    """Warn where the cells found are of other sizes than those that the model was trained on.

    Args:
        cells: The cells of an image.
        scale: Network pixels per image pixel; None where it is not known.
        record: The model's record.
        where: The image, for the message.

    Returns:
        The warning, which is logged, too; None where there is none.
    """
    if scale is None or record is None or len(cells) < _FEWEST_CELLS or not record.diameters_px:
        return None
    trained = record.test_scale or 1.0
    low, high = (factor / trained for factor in record.train_scale or (trained, trained))
    median = record.diameters_px.get("50", 1.0)
    smallest = record.diameters_px.get("25", median) * low
    largest = record.diameters_px.get("75", median) * high
    shown = float(np.median(np.sqrt(cells.areas * 4 / np.pi))) * scale
    if smallest <= shown <= largest:
        return None
    text = (
        f"{where}: at scale {scale:.3g} the cells found are {shown:.0f} px wide for the network, "
        f"which was trained on {smallest:.0f} to {largest:.0f} px; check the outlines, or give "
        "--diameter."
    )
    print_log(text, "current", logging.WARNING)
    return text
