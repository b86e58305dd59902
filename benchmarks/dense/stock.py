"""The stock side: this project's configs with MMDetection's own parts in place of ours."""

import copy
from functools import cache
from typing import Any

import torch
from frame import CONFIGS
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

STOCK_TYPES = {
    "SparseMaxIoUAssigner": "MaxIoUAssigner",
    "CroppedMaskHead": "FCNMaskHead",
    "RleRoIHead": "StandardRoIHead",
    "RleCascadeRoIHead": "CascadeRoIHead",
    "Fp32RPNHead": "RPNHead",
    "Fp32Shared2FCBBoxHead": "Shared2FCBBoxHead",
    "Fp32Shared4Conv1FCBBoxHead": "Shared4Conv1FCBBoxHead",
    "Fp32SingleRoIExtractor": "SingleRoIExtractor",
}


def to_stock(model: Any) -> Any:
    """Copy a model config with every part of ours replaced by the stock part it stands for.

    Args:
        model: The `model` of a config, or any part of it.

    Returns:
        The same config otherwise.
    """
    model = copy.deepcopy(model)
    _replace_types(model)
    return model


def _replace_types(part: Any) -> None:
    """Replace the types in nested dicts and lists, in place."""
    if isinstance(part, dict):
        if part.get("type") in STOCK_TYPES:
            part["type"] = STOCK_TYPES[part["type"]]
        for value in part.values():
            _replace_types(value)
    elif isinstance(part, list | tuple):
        for value in part:
            _replace_types(value)


def read_config(name: str) -> Config:
    """Read configs/cell/<name>.py; each call gives a copy of its own."""
    return copy.deepcopy(_read_once(name))


@cache
def _read_once(name: str) -> Config:
    """Read a config file, which takes a while with its bases."""
    return Config.fromfile(CONFIGS / f"{name}.py")


def read_model_config(name: str, side: str, size_px: int) -> Any:
    """Read the model of configs/cell/<name>.py, without pretrained weights.

    Args:
        name: The config's name without suffix.
        side: 'stock' swaps the stock parts in; any other keeps the config as it is.
        size_px: Height and width that a training batch is padded to.

    Returns:
        The `model` config.
    """
    model = read_config(name).model
    model.backbone.init_cfg = None
    model.data_preprocessor.batch_augments[0].size = (size_px, size_px)
    return to_stock(model) if side == "stock" else model


def build_model(name: str, side: str, size_px: int, max_cells: int | None = None) -> Any:
    """Build the model of configs/cell/<name>.py, with the same random weights each time.

    Args:
        name: As for `read_model_config`.
        side: As there.
        size_px: As there.
        max_cells: Most cells that it finds in an image; random weights would find them everywhere.

    Returns:
        The model, on the CPU.
    """
    init_default_scope("mmdet")
    torch.manual_seed(0)
    config = read_model_config(name, side, size_px)
    if max_cells is not None:
        config.test_cfg.rcnn.max_per_img = max_cells
    model = MODELS.build(config)
    model.init_weights()
    return model
