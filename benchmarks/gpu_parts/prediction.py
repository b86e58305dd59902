"""Prediction of one image and of a slide: cells and pixels per second, by batch size."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dense.scenes import DrawnScene
from dense.workloads_model import prepare_test_step
from frame import CONFIGS
from mmdet.structures.mask import encode_mask_results
from mmengine.logging import MMLogger
from tiled.slides import write_slide
from timing import PartClock, time_once

from cellseg.datasets.synthetic import draw_cell_image
from cellseg.inference import Predictor, TileOptions

from .clock import busy_ms, measure_calls, trace_call
from .report import Report, Row, Settings
from .round_trips import find_round_trips
from .steps import MODELS_SMALL, watch_model

MODELS_FULL = (
    "mask-rcnn_r18_small-anchor",
    "mask-rcnn_lite0_small-anchor_nuclei-he",
    "mask-rcnn_r101_small-anchor",
)
CELLS_A_MEGAPIXEL = 850  # dense H&E tissue
TISSUE_SHARE = 0.3


def run(settings: Settings, report: Report) -> None:
    """Predict an image with each model, then slides: by batch size, then the large one."""
    MMLogger.get_instance("gpu", log_level="ERROR")
    names = settings.pick(MODELS_SMALL, MODELS_FULL)
    for name, amp in itertools.product(names, settings.pick((False,), (False, True))):
        title = f"image, {name}, {_precision(settings, amp)}"
        report.attempt(title, lambda name=name, amp=amp: predict_image(settings, name, amp))
    side_px = settings.pick(300, 5000)
    for name, batch_size in itertools.product(names[:2], settings.pick((2,), (1, 4, 16))):
        report.attempt(
            f"slide of {side_px} px, {name}, batches of {batch_size}",
            lambda name=name, size=batch_size: predict_slide(
                settings, name, side_px, size, traced=True
            ),
        )
    for name, side in itertools.product(names, ("ours", "stock")):
        report.attempt(
            f"network and masks, {name}, {'ours' if side == 'ours' else 'MMDetection'}",
            lambda name=name, side=side: measure_test_step(settings, name, side),
        )
    for name in names if not settings.small else ():
        report.attempt(
            f"slide of 20000 px, {name}, batches of 8",
            lambda name=name: predict_slide(settings, name, 20_000, 8, traced=False),
        )


def build_predictor(
    settings: Settings, name: str, amp: bool, batch_size: int, whole: bool
) -> Predictor:
    """Build a predictor with random weights, which keeps as many cells as tissue has.

    Random weights call everything a cell; so many are kept that each megapixel has its share.
    """
    predictor = Predictor(
        CONFIGS / f"{name}.py",
        None,
        settings.device,
        score_thr=0.0,
        tiling=TileOptions(
            tile_px=settings.pick(128, 1024),
            overlap_px=settings.pick(32, 128),
            scale=1.0,
            whole=whole,
            batch_size=batch_size,
        ),
        amp=amp,
        cfg_options={
            "model.test_cfg.rcnn.max_per_img": settings.pick(13, 890),
            "model.backbone.init_cfg": None,  # random weights
        },
    )
    predictor(np.zeros((128, 128, 3), np.uint8))
    return predictor


def predict_image(settings: Settings, name: str, amp: bool) -> Row:
    """Predict one image again and again, whole.

    Returns:
        What `measure_calls` gives, the cells, and cells and megapixels a second.
    """
    side_px = settings.pick(128, 1000)
    cells = round(CELLS_A_MEGAPIXEL * side_px**2 / 1e6)
    image, _ = draw_cell_image(np.random.default_rng(0), side_px, side_px, cells)
    predictor = build_predictor(settings, name, amp, 1, whole=True)

    def predict() -> Any:
        return predictor(image, channel_order="bgr")

    repeats, warm_up = settings.pick((1, 1), (10, 3))
    values: Row = measure_calls(predict, settings.device, repeats, warm_up)
    values["cells"] = len(predict())
    values["cells_per_s"] = 1000 * values["cells"] / values["ms"]
    values["mpx_per_s"] = side_px**2 / 1000 / values["ms"]
    values["parts_ms"] = time_parts(predict, predictor.model, settings.device)
    values["round_trips"] = find_round_trips(predict, settings.device)
    return values


def time_parts(work: Callable[[], Any], model: Any, device: str) -> dict[str, float]:
    """Return the milliseconds of a prediction by part, each waited for."""
    clock = PartClock(device)
    watch_model(clock, model)
    clock.watch(model.roi_head.bbox_head, "predict_by_feat", "RoI heads: detections and NMS")
    clock.watch(model.roi_head.mask_head, "predict_by_feat", "RoI heads: paste and RLE")
    try:
        return clock.run(work)
    finally:
        clock.release()


def measure_test_step(settings: Settings, name: str, side: str) -> Row:
    """Measure `test_step` of one drawn image, and the encoding of the masks where it is not in it.

    Args:
        settings: Say on which device.
        name: A config of configs/cell.
        side: "ours", or "stock" for MMDetection's own parts.
    """
    scene = DrawnScene(
        settings.pick(8, 400), settings.pick(128, 1024), 1, settings.scratch / "drawn"
    )
    run = prepare_test_step(name, scene, side, settings.device)

    def predict() -> Any:
        masks = run()
        return masks if side == "ours" else encode_mask_results(masks.cpu().numpy())

    values: Row = measure_calls(predict, settings.device, settings.pick(1, 5))
    return values | {"cells": len(predict())}


def predict_slide(
    settings: Settings, name: str, side_px: int, batch_size: int, traced: bool
) -> Row:
    """Predict a slide from a file, without writing anything.

    Args:
        settings: Say on which device.
        name: A config of configs/cell.
        side_px: Height and width of the slide.
        batch_size: Tiles that go through the network together.
        traced: Whether to predict it a second time under the profiler, for how busy the GPU is.

    Returns:
        Seconds in all, in the network and in merging; cells, and cells and megapixels of slide a
        second.
    """
    slide = draw_slide(settings, side_px)
    predictor = build_predictor(settings, name, settings.device == "cuda", batch_size, False)
    clock = PartClock(settings.device)
    clock.watch(predictor.model, "test_step", "network and masks")
    clock.watch(predictor, "merge", "merging")
    found: list[int] = []
    parts = clock.run(lambda: found.append(len(predictor(slide))), "reading and the rest")
    clock.release()
    values: Row = {"parts_s": {title: ms / 1000 for title, ms in parts.items()}}
    values["seconds"] = sum(values["parts_s"].values())
    if settings.device == "cuda" and traced:
        values["seconds"] = time_once(lambda: predictor(slide), settings.device)
        values["busy"] = busy_ms(trace_call(lambda: predictor(slide))) / 1000 / values["seconds"]
        values["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    values["cells"] = found[0]
    values["cells_per_s"] = found[0] / values["seconds"]
    values["mpx_per_s"] = side_px**2 / 1e6 / values["seconds"]
    return values


def draw_slide(settings: Settings, side_px: int) -> Path:
    """Draw a slide that is partly tissue, once."""
    slide = settings.scratch / f"slide_{side_px}.tif"
    if not slide.exists():
        slide.parent.mkdir(parents=True, exist_ok=True)
        write_slide(slide, side_px, TISSUE_SHARE, CELLS_A_MEGAPIXEL)
    return slide


def _precision(settings: Settings, amp: bool) -> str:
    """Name the precision that a predictor computes in."""
    if not amp:
        return "float32"
    return "float16" if settings.device == "cuda" else "bfloat16"
