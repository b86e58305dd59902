"""Make the config that trains a model further on a folder of the user's own images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict

from cellseg.config_files import configs_folder
from cellseg.datasets.cell_dataset import CellDataset
from cellseg.engine.cell_classes import set_cell_classes
from cellseg.engine.cell_scale import set_cell_scale
from cellseg.engine.data_source import open_data
from cellseg.engine.model_record import ModelRecord
from cellseg.engine.start_model import copy_network
from cellseg.errors import CellsegError

DEFAULT_STEPS = 500
BASE_NAME = "cell_fine_tune.py"
"""The recipe in configs/_base_ that such trainings inherit from."""

BATCH_SIZE = 4
_STEPS_PER_EPOCH = 50
_VALIDATIONS = 5
_FOLDS = 5
_FEWEST_IMAGES = 2


@dataclass(frozen=True)
class TrainingFolder:
    """A data folder as a training uses it.

    Attributes:
        data: The training images; all of them where a part validates.
        train_root: Their folder.
        val_root: The folder of the validation images; the same one where a part validates.
        num_folds: Into how many parts the images are split, one of which validates; 0 where
            validation images lie in a folder of their own.
    """

    data: CellDataset
    train_root: Path
    val_root: Path
    num_folds: int

    @property
    def num_train(self) -> int:
        """About how many images are trained on."""
        if not self.num_folds:
            return len(self.data)
        return max(len(self.data) * (self.num_folds - 1) // self.num_folds, 1)


@dataclass(frozen=True)
class Schedule:
    """How long a training is.

    Attributes:
        epochs: Passes over the repeated images.
        val_interval: Epochs between validations.
        times: How often the images are repeated in an epoch.
        epoch_steps: About how many steps an epoch has.
    """

    epochs: int
    val_interval: int
    times: int
    epoch_steps: int


def open_training_folder(data: Path, classes: Sequence[str] | None = None) -> TrainingFolder:
    """Open a data folder and say what of it validates.

    Args:
        data: Folder of `<id>/image.tif` with class1.tif, ... beside it, of which a fifth validates;
            or a folder of two such, `train` and `val`.
        classes: Class names; those in dataset.json, else class1, class2, ... when None.

    Raises:
        CellsegError: If the data cannot be used, or there is one image only.
    """
    has_parts = (data / "train").is_dir() and (data / "val").is_dir()
    train_root = data / "train" if has_parts else data
    dataset = open_data(train_root, classes=classes)
    if not has_parts and len(dataset) < _FEWEST_IMAGES:
        raise CellsegError(
            f"{data} has one image; give at least two, so that one can validate, or validation "
            "images of their own (--val-images, or folders train and val)."
        )
    folds = 0 if has_parts else min(_FOLDS, len(dataset))
    return TrainingFolder(dataset, train_root, data / "val" if has_parts else data, folds)


def plan_schedule(num_images: int, steps: int, batch_size: int = BATCH_SIZE) -> Schedule:
    """Plan epochs of about 50 steps, of which every fifth part is validated.

    Args:
        num_images: Training images.
        steps: Training steps wanted.
        batch_size: Crops of a step.
    """
    epochs = max(round(steps / _STEPS_PER_EPOCH), 1)
    epoch_steps = math.ceil(steps / epochs)
    times = math.ceil(batch_size * epoch_steps / num_images)
    return Schedule(epochs, max(epochs // _VALIDATIONS, 1), times, epoch_steps)


def make_fine_tuning_config(
    record: ModelRecord,
    weights: Path,
    data: Path,
    classes: Sequence[str] | None = None,
    steps: int = DEFAULT_STEPS,
) -> Config:
    """Make the config of a training that starts from a model.

    Args:
        record: The model's record, with its network.
        weights: The model folder or checkpoint.
        data: As for `open_training_folder`.
        classes: Class names; those in dataset.json, else class1, class2, ... when None.
        steps: Training steps of four crops.

    Returns:
        The config.

    Raises:
        CellsegError: If the model has no network in its record, or the data cannot be used.
    """
    if not record.network:
        raise CellsegError(
            f"The model {weights} does not hold its network's settings; train with its config, and "
            f"--cfg-options load_from={weights}."
        )
    folder = open_training_folder(data, classes)
    schedule = plan_schedule(folder.num_train, steps)
    # Not read_config: classes and scale are set below, and only then passed on to the parts.
    config = Config.fromfile(configs_folder() / "_base_" / BASE_NAME)
    config.model = ConfigDict(copy_network(record.network))
    config.cell_classes = tuple(folder.data.metainfo["classes"])
    config.cell_scale = choose_scale(record, folder.data)[0]
    _set_data(config, folder)
    config.train_dataloader.dataset.times = schedule.times
    config.train_cfg.update(max_epochs=schedule.epochs, val_interval=schedule.val_interval)
    warm_up = config.param_scheduler[0]
    warm_up.end = min(warm_up.end, max(steps // 10, 1))  # or a short training would be all warm-up
    config.load_from = str(weights)
    config.work_dir = str(Path("work_dirs") / f"fine-tune_{data.resolve().name}")
    set_cell_classes(config)
    set_cell_scale(config)
    object.__setattr__(config, "_filename", "fine-tune.py")
    return config


def _set_data(config: Config, folder: TrainingFolder) -> None:
    """Let a config train on a folder's images, and validate and test on the others."""
    shared: dict[str, Any] = {
        "channel_order": folder.data.image_format["channel_order"],
        "num_folds": folder.num_folds,
    }
    config.train_dataloader.dataset.dataset.update(shared, data_root=str(folder.train_root))
    for split in ("val", "test"):
        config[f"{split}_dataloader"].dataset.update(shared, data_root=str(folder.val_root))


def choose_scale(record: ModelRecord, data: CellDataset) -> tuple[float, float | None]:
    """Choose the scale at which the labeled cells look as in the model's training.

    Args:
        record: The model's record.
        data: The training images.

    Returns:
        Network pixels per image pixel, and the median diameter of the cells in pixels of the
        image; None where there is none, or the record does not say how large its cells were.
    """
    areas = [
        cell["area"]
        for index in range(len(data))
        for cell in data.get_data_info(index)["instances"]
        if not cell["ignore_flag"]
    ]
    if areas and record.median_diameter_px is not None:
        own = float(np.median(np.sqrt(np.array(areas) * 4 / np.pi)))
        return round(record.median_diameter_px / own, 2), own
    return record.test_scale or 1.0, None
