"""Make the config that trains a model further on a folder of the user's own images."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config

from cellseg.config_files import configs_folder
from cellseg.datasets.cell_dataset import CellDataset
from cellseg.engine.configs import read_config
from cellseg.engine.data_source import open_data
from cellseg.engine.model_record import ModelRecord
from cellseg.errors import CellsegError

DEFAULT_STEPS = 500
_BATCH_SIZE = 4
_STEPS_PER_EPOCH = 50
_VALIDATIONS = 5
_LR = 1e-4  # a fifth of what trains the light model from ImageNet weights
_LAST_LR = 1e-6
_WARMUP = 50
_FOLDS = 5
_FEWEST_IMAGES = 2


class _Images(NamedTuple):
    """What is trained on: folders, folds (0 where train and val are two), trained images."""

    train: CellDataset
    train_root: Path
    val_root: Path
    num_folds: int
    num_trained: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self.train.metainfo["classes"])


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
        data: Folder of `<id>/image.tif` with class1.tif, ... beside it, of which a fifth validates;
            or a folder of two such, `train` and `val`.
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
    images = _find_images(data, classes)
    config = read_config(configs_folder() / "_base_" / "cell_lite.py")
    config.model = _set_classes(record.network, len(images.classes))
    _set_schedule(config, steps)
    scale = _choose_scale(record, images.train)
    crop_px = _find_crop_size(record.network)
    _set_loaders(
        config,
        images,
        _make_train_pipeline(scale, crop_px, config.meta_keys),
        _make_test_pipeline(scale, config.meta_keys),
    )
    config.load_from = str(weights)
    config.work_dir = str(Path("work_dirs") / f"fine-tune_{data.resolve().name}")
    object.__setattr__(config, "_filename", "fine-tune.py")
    return config


def _find_images(data: Path, classes: Sequence[str] | None) -> _Images:
    """Open a folder of images, or of two folders train and val; raise CellsegError if too few."""
    has_parts = (data / "train").is_dir() and (data / "val").is_dir()
    train_root, val_root = (data / "train", data / "val") if has_parts else (data, data)
    train = open_data(train_root, classes=classes)
    if has_parts:
        return _Images(train, train_root, val_root, 0, len(train))
    if len(train) < _FEWEST_IMAGES:
        raise CellsegError(
            f"{data} has one image; give at least two, so that one can validate, or folders train "
            "and val."
        )
    folds = min(_FOLDS, len(train))
    return _Images(train, train_root, val_root, folds, max(len(train) * (folds - 1) // folds, 1))


def _set_schedule(config: Config, steps: int) -> None:
    """Shorten the light recipes' schedule, and lower its rate: the weights are trained already."""
    epochs = max(round(steps / _STEPS_PER_EPOCH), 1)
    config.train_cfg.update(max_epochs=epochs, val_interval=max(epochs // _VALIDATIONS, 1))
    config.optim_wrapper.optimizer.lr = _LR
    warmup, decay = config.param_scheduler
    warmup.end = _WARMUP
    decay.eta_min = _LAST_LR


def _set_loaders(
    config: Config,
    images: _Images,
    train_pipeline: list[dict[str, Any]],
    test_pipeline: list[dict[str, Any]],
) -> None:
    """Set the loaders: crops of images that come several times an epoch, and whole images."""
    shared = {
        "type": "CellDataset",
        "metainfo": {"classes": images.classes},
        "channel_order": images.train.image_format["channel_order"],
        "num_folds": images.num_folds,
        "fold": 0,
    }
    loader = {"num_workers": 1, "persistent_workers": True}
    train_set = dict(
        shared, data_root=str(images.train_root), split="train", pipeline=train_pipeline
    )
    config.train_dataloader = dict(
        loader,
        batch_size=_BATCH_SIZE,
        sampler=dict(type="DefaultSampler", shuffle=True),
        drop_last=True,
        dataset=dict(
            type="RepeatDataset",
            times=math.ceil(_BATCH_SIZE * _STEPS_PER_EPOCH / images.num_trained),
            dataset=train_set,
        ),
    )
    for split in ("val", "test"):
        config[f"{split}_dataloader"] = dict(
            loader,
            batch_size=1,
            sampler=dict(type="DefaultSampler", shuffle=False),
            dataset=dict(
                shared,
                data_root=str(images.val_root),
                split="val",
                test_mode=True,
                pipeline=test_pipeline,
            ),
        )


def _set_classes(network: Mapping[str, Any], num_classes: int) -> dict[str, Any]:
    """Copy a network's settings for another number of classes."""
    copied = copy.deepcopy(dict(network))
    roi_head = copied.get("roi_head")
    if not isinstance(roi_head, dict):
        raise CellsegError(
            "Only models with a RoI head, such as Mask R-CNN, can be trained further."
        )
    for name in ("bbox_head", "mask_head"):
        heads = roi_head.get(name) or []
        for head in heads if isinstance(heads, list) else [heads]:
            head["num_classes"] = num_classes
    return copied


def _find_crop_size(network: Mapping[str, Any]) -> int:
    """Find the side of the crops that the model was trained on, in network pixels."""
    augments = (network.get("data_preprocessor") or {}).get("batch_augments") or []
    sizes = [max(step["size"]) for step in augments if "size" in step]
    return int(sizes[0]) if sizes else 320


def _choose_scale(record: ModelRecord, data: CellDataset) -> float:
    """Choose the scale at which the labelled cells look as in the model's training."""
    areas = [
        cell["area"]
        for index in range(len(data))
        for cell in data.get_data_info(index)["instances"]
        if not cell["ignore_flag"]
    ]
    if areas and record.median_diameter_px is not None:
        own = float(np.median(np.sqrt(np.array(areas) * 4 / np.pi)))
        return round(record.median_diameter_px / own, 2)
    return record.test_scale or 1.0


def _make_train_pipeline(
    scale: float, crop_px: int, meta_keys: Sequence[str]
) -> list[dict[str, Any]]:
    """Write the pipeline of the light recipes, at a scale."""
    raw_px = max(math.ceil(crop_px / scale / 0.8), 1)  # what fills the crop at the smallest factor
    side = round(raw_px * scale)
    crop = dict(type="RandomCrop", allow_negative_crop=True, recompute_bbox=True)
    return [
        dict(type="LoadCellImage"),
        dict(type="LoadLabelMaps"),
        dict(crop, crop_size=(raw_px, raw_px)),
        dict(type="RandomResize", scale=(side, side), ratio_range=(0.8, 1.25), keep_ratio=True),
        dict(crop, crop_size=(crop_px, crop_px)),
        dict(type="FilterAnnotations", min_gt_bbox_wh=(4, 4), keep_empty=False),
        dict(type="RandomTranspose", prob=0.5),
        dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]),
        dict(type="StainJitter", scale_range=0.2, shift_range=0.05),
        dict(type="PackDetInputs", meta_keys=tuple(meta_keys)),
    ]


def _make_test_pipeline(scale: float, meta_keys: Sequence[str]) -> list[dict[str, Any]]:
    """Write the test pipeline, at a scale."""
    return [
        dict(type="LoadCellImage"),
        dict(type="Resize", scale_factor=scale, keep_ratio=True),
        dict(type="PackDetInputs", meta_keys=(*meta_keys, "instances")),
    ]
