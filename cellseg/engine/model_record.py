"""What a model must be told along with its weights, as plain data in the checkpoint's meta.

The record says which images the model was trained on (classes, channel order, pixel size, size of
the cells) and how they reached the network, so that prediction can choose other images' scale.
With `network` and `pipeline` a checkpoint can be used without the config it was trained with.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mmengine.logging import print_log

from cellseg.datasets.folder_facts import is_class_name, is_pixel_size
from cellseg.errors import CellsegError

RECORD_KEY = "cellseg_record"
"""The record's name in a checkpoint's meta."""

RECORD_VERSION = 1
PERCENTILES = ("1", "5", "25", "50", "75", "95", "99")
_FACTORS = (0.001, 64.0)  # that training and testing may resize an image by
_LARGEST_DIAMETER_PX = 1024.0


class RecordError(CellsegError):
    """A record cannot be used; the message says why, to be completed with the file's name."""


@dataclass(frozen=True)
class ModelRecord:
    """What is known of a trained model; None, or empty, where it is not.

    Attributes:
        classes: Class names in the order of the model's outputs.
        channel_order: Order of the channels in the training images' files, 'rgb' or 'bgr'.
        intensity_range: How images that are not 8 bit were mapped, as for `open_image`.
        palette: Color of each class as R, G, B.
        normalization: Mean and std of each channel as the network gets it, and whether that is RGB.
        pixel_size_um: Side of a pixel of the training images in micrometers.
        test_scale: Network pixels per image pixel in testing; the median where images differ.
        train_scale: Smallest and largest such factor in training.
        diameters_px: Percentiles ('5', '50', ...) of the diameters of the training cells, those of
            circles of their areas, in pixels of the network's input at test_scale.
        brightness: Median gray level of the training images, 0 to 255; that of their background.
        num_images: Training images.
        num_cells: Training cells.
        network: The model's settings, as MMDetection builds it.
        pipeline: The transforms of the test pipeline.
    """

    classes: tuple[str, ...]
    channel_order: str | None = None
    intensity_range: Any = None
    palette: tuple[tuple[int, int, int], ...] = ()
    normalization: dict[str, Any] = field(default_factory=dict)
    pixel_size_um: float | None = None
    test_scale: float | None = None
    train_scale: tuple[float, float] | None = None
    diameters_px: dict[str, float] = field(default_factory=dict)
    brightness: float | None = None
    num_images: int | None = None
    num_cells: int | None = None
    network: dict[str, Any] = field(default_factory=dict)
    pipeline: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Write the record as what JSON can hold."""
        plain = to_plain_data(asdict(self))
        return {"version": RECORD_VERSION, **plain}

    @property
    def median_diameter_px(self) -> float | None:
        """Median diameter of the training cells in network pixels, where known."""
        return self.diameters_px.get("50")

    @property
    def usual_medians_px(self) -> tuple[float, float] | None:
        """Smallest and largest median diameter of an image's cells, in network pixels, that suit.

        From the lower quartile of the training cells to the upper one as training enlarged it most:
        with medians between, an image looks like some of those in training.
        """
        median = self.median_diameter_px
        if median is None:
            return None
        most = (self.train_scale or (1.0, 1.0))[1] / (self.test_scale or 1.0)
        low, high = self.diameters_px.get("25", median), self.diameters_px.get("75", median)
        return low, high * max(most, 1.0)

    def list_unknown(self) -> list[str]:
        """Name what prediction would like to know and the record does not say."""
        names = {
            "pixel size": self.pixel_size_um,
            "scale of the training images": self.test_scale,
            "size of the training cells": self.median_diameter_px,
        }
        return [name for name, value in names.items() if value is None]


def read_record(found: Any) -> ModelRecord:
    """Read a record from what a file holds, checking every part that is used later.

    Args:
        found: From JSON, or from a checkpoint's meta.

    Returns:
        The record.

    Raises:
        RecordError: If it is no record, of a later version, or holds something impossible.
    """
    if not isinstance(found, Mapping):
        raise RecordError("its record is not an object")
    if found.get("version") != RECORD_VERSION:
        raise RecordError(
            f"its record has version {found.get('version')!r}, and this cellseg reads version "
            f"{RECORD_VERSION}; update cellseg"
        )
    classes, order = found.get("classes"), found.get("channel_order")
    if not _is_list_of(classes, str) or not classes:
        raise RecordError("its record names no classes")
    if not all(map(is_class_name, classes)):
        raise RecordError("its record names a class with characters that cannot be shown")
    if order not in (None, "rgb", "bgr"):
        raise RecordError(f"its channel order {order!r} is neither rgb nor bgr")
    size, scale, train_scale, diameters = _read_sizes(found)
    network, pipeline = found.get("network") or {}, found.get("pipeline") or []
    if not isinstance(network, Mapping) or not _is_list_of(pipeline, Mapping):
        raise RecordError("its network or pipeline is not an object of settings")
    if not isinstance(found.get("normalization") or {}, Mapping):
        raise RecordError("its normalization is not an object of settings")
    return ModelRecord(
        tuple(classes),
        order,
        found.get("intensity_range"),
        _read_palette(found.get("palette")),
        dict(found.get("normalization") or {}),
        size,
        scale,
        train_scale,
        diameters,
        _read_gray_level(found.get("brightness")),
        _read_count(found.get("num_images")),
        _read_count(found.get("num_cells")),
        dict(network),
        tuple(dict(step) for step in pipeline),
    )


def find_record(checkpoint: Mapping[str, Any], path: object) -> ModelRecord | None:
    """Find the record of a loaded checkpoint.

    Args:
        checkpoint: From `load_checkpoint_file`.
        path: The file, for messages.

    Returns:
        The record; None where the checkpoint has none, or a damaged one, which is logged.
    """
    meta = checkpoint.get("meta")
    found = meta.get(RECORD_KEY) if isinstance(meta, Mapping) else None
    if found is None:
        return None
    try:
        return read_record(found)
    except RecordError as error:
        print_log(
            f"The checkpoint {path} is used without its record: {error}.",
            "current",
            logging.WARNING,
        )
        return None


def to_plain_data(value: Any) -> Any:
    """Turn settings into what JSON can hold.

    Raises:
        RecordError: If they hold anything but mappings, sequences, text, numbers and None.
    """
    if isinstance(value, Mapping):
        return {str(key): to_plain_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain_data(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError(f"its settings hold {value}, which JSON cannot")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise RecordError(f"its settings hold a {type(value).__name__}, which is not plain data")


def _read_sizes(
    found: Mapping[str, Any],
) -> tuple[float | None, float | None, tuple[float, float] | None, dict[str, float]]:
    """Read the pixel size, test scale, scales of training, and diameters; RecordError if wrong."""
    size, scale = found.get("pixel_size_um"), found.get("test_scale")
    if size is not None and not is_pixel_size(size):
        raise RecordError(f"its pixel_size_um {size!r} is not a number above 0")
    if scale is not None and not _is_factor(scale):
        raise RecordError(f"its test_scale {scale!r} is not a number from 0.001 to 64")
    train_scale = found.get("train_scale")
    is_pair = isinstance(train_scale, Sequence) and len(train_scale) == 2
    if train_scale is not None and not (is_pair and all(map(_is_factor, train_scale))):
        raise RecordError(f"its train_scale {train_scale!r} is not two numbers from 0.001 to 64")
    diameters = found.get("diameters_px") or {}
    if not isinstance(diameters, Mapping) or not all(map(_is_diameter, diameters.values())):
        raise RecordError("its diameters_px are not numbers above 0 and up to 1024")
    return (
        size,
        scale,
        None if train_scale is None else (train_scale[0], train_scale[1]),
        {str(name): float(value) for name, value in diameters.items()},
    )


def _is_factor(value: Any) -> bool:
    """Return whether a value can be the factor that images are resized by."""
    return is_pixel_size(value) and _FACTORS[0] <= value <= _FACTORS[1]


def _is_diameter(value: Any) -> bool:
    """Return whether a value can be the diameter of a cell in network pixels."""
    return is_pixel_size(value) and value <= _LARGEST_DIAMETER_PX


def _read_gray_level(value: Any) -> float | None:
    """Read a number from 0 to 255; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 255 else None


def _is_list_of(value: Any, kind: type) -> bool:
    """Return whether a value is a list, or tuple, of one kind of items."""
    return isinstance(value, list | tuple) and all(isinstance(item, kind) for item in value)


def _read_palette(value: Any) -> tuple[tuple[int, int, int], ...]:
    """Read colors; none where they are not such."""
    if not isinstance(value, list | tuple):
        return ()
    colors = [tuple(color) for color in value if _is_list_of(color, int) and len(color) == 3]
    return tuple(colors) if len(colors) == len(value) else ()


def _read_count(value: Any) -> int | None:
    """Read a count; None where it is not one."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
