"""Write the record of a model into every checkpoint, and make it from a config and its data."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from mmdet.registry import HOOKS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from numpy.typing import NDArray

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.datasets.folder_facts import agree_on_pixel_size
from cellseg.datasets.resize_factors import FactorRange, find_resize_factors
from cellseg.engine.configs import find_test_dataset, list_datasets, read_class_names, read_palette
from cellseg.engine.model_record import (
    PERCENTILES,
    RECORD_KEY,
    ModelRecord,
    RecordError,
    to_plain_data,
)
from cellseg.errors import CellsegError
from cellseg.images import open_image
from cellseg.images.brightness import measure_brightness

_MEASURED_IMAGES = 4  # of each data set, for their brightness
# Where weights came from says nothing of a trained model; the scope is always MMDetection's.
_FETCHED = {"init_cfg", "pretrained", "_scope_"}


@HOOKS.register_module()
class ModelRecordHook(Hook):
    """Write `ModelRecord` into the meta of every checkpoint that a Runner saves."""

    def before_train(self, runner: Runner) -> None:
        """Make the record once; a data set of another kind gives one with less in it."""
        self._record = make_record(runner.cfg, runner.train_dataloader.dataset)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Put it into the checkpoint, beside what MMEngine writes there."""
        record = getattr(self, "_record", None)
        if record is not None:
            checkpoint.setdefault("meta", {})[RECORD_KEY] = record.to_dict()


def make_record(config: Config, training_data: Any = None) -> ModelRecord | None:
    """Make the record of a model that a config trains.

    Args:
        config: The config.
        training_data: The training data set, wrapped or not; without it, nothing is known of the
            size of the cells.

    Returns:
        The record; None for a config that has no test data set with a pipeline.
    """
    try:
        settings = find_test_dataset(config)
        palette = read_palette(settings)
    except CellsegError:
        return None
    parts = list_cell_datasets(training_data)
    pipeline = [step for step in settings["pipeline"] if _kind(step) != "LoadLabelMaps"]
    diameters, factors = _measure_cells(parts, pipeline)
    network, plain_pipeline = _make_plain(config, pipeline)
    image_format = parts[0].image_format if parts else settings
    return ModelRecord(
        classes=read_class_names(settings),
        channel_order=image_format.get("channel_order"),
        intensity_range=image_format.get("intensity_range"),
        palette=tuple((red, green, blue) for red, green, blue in palette),
        normalization=_read_normalization(config),
        pixel_size_um=agree_on_pixel_size(part.pixel_size_um for part in parts),
        test_scale=float(np.median(factors)) if len(factors) else None,
        train_scale=_find_train_factors(config, parts),
        diameters_px=_summarize(diameters),
        brightness=_measure_brightness(parts),
        num_images=sum(map(len, parts)) or None,
        num_cells=len(diameters) or None,
        network=network,
        pipeline=tuple(plain_pipeline),
    )


def _kind(step: Mapping[str, Any]) -> str:
    """Return a transform's name without its scope."""
    return str(step["type"]).rpartition(".")[2]


def list_cell_datasets(dataset: Any) -> list[CellDataset]:
    """List the data sets of cells inside wrappers that repeat or join them."""
    if isinstance(dataset, CellDataset):
        return [dataset]
    inner = getattr(dataset, "dataset", None)
    parts = getattr(dataset, "datasets", [] if inner is None else [inner])
    return [leaf for part in parts for leaf in list_cell_datasets(part)]


def _list_pipelines(settings: Any) -> Iterator[list[dict[str, Any]]]:
    """List the pipelines of the data sets inside a config's wrappers, in their order."""
    if not isinstance(settings, Mapping):
        return
    if "pipeline" in settings:
        yield settings["pipeline"]
    elif "dataset" in settings:
        yield from _list_pipelines(settings["dataset"])
    else:
        for part in settings.get("datasets") or ():
            yield from _list_pipelines(part)


def _measure_cells(
    parts: list[CellDataset], pipeline: list[dict[str, Any]]
) -> tuple[NDArray[np.float64], list[float]]:
    """Measure the training cells as testing would show them.

    Returns:
        Their diameters in pixels of the network's input, and the factor of each image; both are
        empty where the pipeline does not tell the factor.
    """
    diameters: list[NDArray[np.float64]] = [np.zeros(0)]
    factors: list[float] = []
    for part in parts:
        for index in range(len(part)):
            info = part.get_data_info(index)
            found = find_resize_factors(pipeline, info["height"], info["width"])
            if found is None or found.low != found.high:
                return np.zeros(0), []
            areas = [cell["area"] for cell in info["instances"] if not cell["ignore_flag"]]
            diameters.append(np.sqrt(np.array(areas, dtype=np.float64) * 4 / np.pi) * found.low)
            factors.append(found.low)
    return np.concatenate(diameters), factors


def _measure_brightness(parts: list[CellDataset]) -> float | None:
    """Measure the median gray level of a few training images; None without any."""
    found: list[float] = []
    for part in parts:
        for index in range(0, len(part), max(len(part) // _MEASURED_IMAGES, 1)):
            info = part.get_data_info(index)
            with open_image(info["img_path"], info["image_format"]) as source:
                found.append(measure_brightness(source))
    return round(float(np.median(found)), 1) if found else None


def _find_train_factors(config: Config, parts: list[CellDataset]) -> tuple[float, float] | None:
    """Find between which factors the training images are resized."""
    pipelines = list(_list_pipelines(list_datasets(config).get("train")))
    found: list[FactorRange | None] = []
    for place, part in enumerate(parts):
        pipeline = pipelines[place] if len(pipelines) == len(parts) else pipelines[0]
        infos = map(part.get_data_info, range(len(part)))
        sizes = {(info["height"], info["width"]) for info in infos}
        found += [find_resize_factors(pipeline, *size) for size in sizes]
    known = [factors for factors in found if factors is not None]
    if not known or len(known) < len(found):
        return None
    return min(factors.low for factors in known), max(factors.high for factors in known)


def _summarize(diameters: NDArray[np.float64]) -> dict[str, float]:
    """Write percentiles, to a tenth of a pixel; empty without cells."""
    if not len(diameters):
        return {}
    values = np.percentile(diameters, [float(name) for name in PERCENTILES])
    return {
        name: max(round(float(value), 1), 0.1)
        for name, value in zip(PERCENTILES, values, strict=True)
    }


def _read_normalization(config: Config) -> dict[str, Any]:
    """Read how the model normalizes images."""
    settings = (config.get("model") or {}).get("data_preprocessor") or {}
    names = ("mean", "std", "bgr_to_rgb", "rgb_to_bgr")
    with suppress(RecordError):
        return {name: to_plain_data(settings[name]) for name in names if name in settings}
    return {}


def _make_plain(
    config: Config, pipeline: list[dict[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write model and pipeline as plain data; both empty where a setting is none."""
    try:
        network = to_plain_data(_without_sources(config.model.to_dict()))
        return network, to_plain_data(pipeline)
    except RecordError as error:
        print_log(
            f"The checkpoints will need their config file to be used: {error}.",
            "current",
            logging.WARNING,
        )
        return {}, []


def _without_sources(part: Any) -> Any:
    """Copy a model's settings without the weights that it was initialized from."""
    if isinstance(part, Mapping):
        return {key: _without_sources(value) for key, value in part.items() if key not in _FETCHED}
    if isinstance(part, list | tuple):
        return [_without_sources(value) for value in part]
    return part
