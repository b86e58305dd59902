"""Whole training steps, with the config's own optimizer, from one prepared batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmdet.registry import OPTIM_WRAPPERS
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper

from cellseg.engine.channels_last_hook import trains_faster_channels_last
from cellseg.engine.keep_memory_hook import keep_freed_memory
from cellseg.engine.run_config import enable_amp

from .scenes import DrawnScene
from .stock import build_model, read_config
from .workloads_data import prepare_pipeline

BATCH_SIZE = 2


def prepare_r18_step(scene: DrawnScene, side: str) -> Callable[[], dict[str, float]]:
    """Prepare a training step of the ResNet-18 config."""
    return prepare_step("mask-rcnn_r18_small-anchor", scene, side)


def prepare_r101_step(scene: DrawnScene, side: str) -> Callable[[], dict[str, float]]:
    """Prepare a training step of the main config."""
    return prepare_step("mask-rcnn_r101_small-anchor", scene, side)


def prepare_step(name: str, scene: DrawnScene, side: str) -> Callable[[], dict[str, float]]:
    """Prepare a training step from random weights.

    Args:
        name: A config of configs/cell.
        scene: Holds as many images as a batch.
        side: 'stock'; 'ours'; 'ours-amp', bfloat16; 'ours-other-order', convolutions in the memory
            order that ChannelsLastHook does not choose on this CPU.

    Returns:
        The step, which gives the losses.
    """
    if side != "stock":
        keep_freed_memory()
    model = build_model(name, side, scene.size_px).train()
    is_faster = trains_faster_channels_last(torch.device("cpu"))
    if side != "stock" and is_faster != (side == "ours-other-order"):
        model.to(memory_format=torch.channels_last)
    cfg = read_config(name)
    if side == "ours-amp":
        enable_amp(cfg)
    with OPTIM_WRAPPERS.switch_scope_and_registry("mmdet"):
        optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    step = make_step(model, optim_wrapper, read_batch(scene, side))
    return lambda: {key: float(value) for key, value in step().items()}


def make_step(model: Any, optim_wrapper: Any, batch: dict[str, Any]) -> Callable[[], Any]:
    """Return a function that makes one training step with a batch, the same each time."""

    def step() -> Any:
        torch.manual_seed(0)
        np.random.seed(0)
        return model.train_step(batch, optim_wrapper)

    return step


def prepare_test_step(
    name: str, scene: DrawnScene, side: str, device: str = "cpu"
) -> Callable[[], Any]:
    """Prepare a test run of a scene's first image, which finds at most as many cells as there are.

    Args:
        name: A config of configs/cell.
        scene: Holds the image.
        side: 'stock' or 'ours'.
        device: Where the model lies.

    Returns:
        The run, which gives the masks.
    """
    model = build_model(name, side, scene.size_px, scene.cells).to(device).eval()
    batch = {key: values[:1] for key, values in read_batch(scene, side).items()}

    @torch.inference_mode()
    def run() -> Any:
        return model.test_step(batch)[0].pred_instances.masks

    return run


def read_batch(scene: DrawnScene, side: str) -> dict[str, Any]:
    """Read a scene's images through the training pipeline of a side, as one batch."""
    return pseudo_collate(
        [prepare_pipeline(scene, side, number)() for number in range(scene.images)]
    )


def similar_losses(stock: dict[str, float], ours: dict[str, float]) -> bool:
    """Compare all losses; the memory orders differ, and so does the rounding of convolutions.

    The accuracy beside them is left out: it counts RoIs, and with random weights a RoI's two best
    classes may be as good as equal.
    """
    return stock.keys() == ours.keys() and all(
        abs(stock[key] - ours[key]) <= 1e-3 * max(abs(stock[key]), 1e-3)
        for key in stock
        if "loss" in key
    )
