"""Little work for the configs: their models with few proposals on small images of plain cells."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from cellseg.datasets.synthetic import write_sample


def skip_without_backbone(model: Any) -> None:
    """Skip the test where the package that a `model` config's backbone comes from does not load."""
    if model.backbone.type == "ConvNeXt":
        try:
            importlib.import_module("mmpretrain.models.backbones")
        except ImportError as error:
            pytest.skip(f"mmpretrain's ConvNeXt cannot be imported: {error}")


def shrink_model(model: Any, size_px: int) -> Any:
    """Cut the work of a `model` config, in place; layers and losses stay as they are.

    Args:
        model: The `model` of a config.
        size_px: Height and width that a training batch is padded to.

    Returns:
        The config, without weights to download.
    """
    model.backbone.init_cfg = None
    model.data_preprocessor.batch_augments[0].size = (size_px, size_px)
    for proposals in (model.train_cfg.rpn_proposal, model.test_cfg.rpn):
        proposals.update(nms_pre=60, max_per_img=40)
    stages = model.train_cfg.rcnn
    for stage in stages if isinstance(stages, list) else [stages]:
        stage.sampler.num = 16
    return model


def build_small_model(model: Any, size_px: int) -> Any:
    """Build a shrunken model with random weights, for training."""
    skip_without_backbone(model)
    init_default_scope("mmdet")
    built = MODELS.build(shrink_model(model, size_px))
    built.init_weights()
    return built.train()


def write_image(folder: Path, height: int, width: int, num_cells: int) -> None:
    """Write an image of one class with cells of 12 px side by side."""
    layer = np.zeros((height, width), dtype=np.int32)
    for number in range(num_cells):
        layer[4:16, 2 + 15 * number : 14 + 15 * number] = number + 1
    image = np.full((height, width, 3), 200, dtype=np.uint8)
    image[layer > 0] = (150, 60, 100)
    write_sample(folder, image, {1: layer} if num_cells else {})
