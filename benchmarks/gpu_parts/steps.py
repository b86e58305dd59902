"""Training steps: milliseconds, memory, how busy the GPU is, and where the time goes."""

from collections.abc import Callable
from typing import Any

import torch
from dense.scenes import DrawnScene
from dense.stock import build_model, read_config
from dense.workloads_model import BATCH_SIZE, make_step, read_batch
from mmdet.registry import OPTIM_WRAPPERS
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from timing import PartClock

from .clock import measure_calls, top_kernels, trace_call
from .report import Report, Row, Settings
from .round_trips import find_round_trips

MODELS_FULL = (
    "mask-rcnn_r18_small-anchor",
    "mask-rcnn_r50_small-anchor",
    "mask-rcnn_r101_small-anchor",
)
MODELS_SMALL = ("mask-rcnn_r18_small-anchor_demo",)
PRECISIONS = ("float32", "float16", "bfloat16")
WATCHED: tuple[tuple[str, str, str], ...] = (  # part of a model, its method, the name in the table
    ("data_preprocessor", "forward", "batch to the device"),
    ("backbone", "forward", "backbone"),
    ("neck", "forward", "neck"),
    ("rpn_head", "forward", "RPN: head"),
    ("rpn_head", "get_targets", "RPN: targets"),
    ("rpn_head", "loss_by_feat", "RPN: losses"),
    ("rpn_head", "predict_by_feat", "RPN: proposals and NMS"),
    ("roi_head", "loss", "RoI heads: assignment and sampling"),
    ("roi_head.bbox_roi_extractor", "forward", "RoI heads: RoIAlign"),
    ("roi_head.mask_roi_extractor", "forward", "RoI heads: RoIAlign"),
    ("roi_head.bbox_head", "forward", "RoI heads: box head"),
    ("roi_head.bbox_head", "get_targets", "RoI heads: box targets"),
    ("roi_head.mask_head", "forward", "RoI heads: mask head"),
    ("roi_head.mask_head", "get_targets", "RoI heads: mask targets"),
)
WATCHED_OPTIMIZER = (
    ("backward", "backward pass"),
    ("step", "optimizer"),
    ("zero_grad", "optimizer"),
)


def run(settings: Settings, report: Report) -> None:
    """Measure every model in every precision: 400 cells first, then fewer and more, then stock."""
    MMLogger.get_instance("gpu", log_level="ERROR")  # no line for each weight that is set
    names = settings.pick(MODELS_SMALL, MODELS_FULL)
    precisions = PRECISIONS if settings.device == "cuda" else ("float32", "bfloat16")
    for cells in settings.pick((8,), (400, 1000, 100)):
        for name in names:
            for precision in precisions:
                is_first = cells in (8, 400)
                _attempt(settings, report, name, cells, precision, "ours", is_first)
    for cells in settings.pick((8,), (400, 1000)):
        for name in names:
            for precision in settings.pick(precisions[:1], precisions[:2]):
                _attempt(settings, report, name, cells, precision, "stock", False)


def _attempt(
    settings: Settings,
    report: Report,
    name: str,
    cells: int,
    precision: str,
    side: str,
    in_detail: bool,
) -> None:
    """Measure one case and add its row."""
    scene = DrawnScene(cells, settings.pick(128, 1024), BATCH_SIZE, settings.scratch / "drawn")
    whose = "" if side == "ours" else ", MMDetection's parts"
    report.attempt(
        f"step, {name}, {cells} cells, {precision}{whose}",
        lambda: measure_step(settings, name, scene, precision, side, in_detail),
    )


def measure_step(
    settings: Settings, name: str, scene: DrawnScene, precision: str, side: str, in_detail: bool
) -> Row:
    """Measure a training step.

    Args:
        settings: Say on which device, and how often.
        name: A config of configs/cell.
        scene: Holds the images of a batch.
        precision: "float32", "float16" or "bfloat16".
        side: "ours", or "stock" for MMDetection's own parts.
        in_detail: Whether to say where the time goes and where the host waits, too.

    Returns:
        What `measure_calls` gives and, in detail, `parts_ms`, `kernels_ms` and `round_trips`.
    """
    model, optimizer = build(name, scene.size_px, precision, side, settings.device)
    batch = read_batch(scene, side)
    step = make_step(model, optimizer, batch)
    values: Row = measure_calls(step, settings.device, settings.pick(1, 10), settings.pick(1, 4))
    if in_detail:
        values["parts_ms"] = time_parts(step, model, optimizer, settings.device)
        values["round_trips"] = find_round_trips(step, settings.device)
        if settings.device == "cuda":
            values["kernels_ms"] = top_kernels(trace_call(step))
    return values


def build(name: str, size_px: int, precision: str, side: str, device: str) -> tuple[Any, Any]:
    """Build a model with random weights and its config's optimizer in a precision."""
    model = build_model(name, side, size_px).to(device).train()
    if device == "cuda" and side != "stock":
        model.to(memory_format=torch.channels_last)  # as ChannelsLastHook does
    wrapper = read_config(name).optim_wrapper
    if precision != "float32":
        wrapper.type = "AmpOptimWrapper" if device == "cuda" else "CpuAmpOptimWrapper"
        wrapper.dtype = precision
    if precision == "float16":
        wrapper.loss_scale = "dynamic"
    with OPTIM_WRAPPERS.switch_scope_and_registry("mmdet"):
        return model, build_optim_wrapper(model, wrapper)


def time_parts(
    step: Callable[[], Any], model: Any, optimizer: Any, device: str
) -> dict[str, float]:
    """Return the milliseconds of a step by part, each waited for."""
    clock = PartClock(device)
    watch_model(clock, model)
    for method, title in WATCHED_OPTIMIZER:
        clock.watch(optimizer, method, title)
    try:
        return clock.run(step)
    finally:
        clock.release()


def watch_model(clock: PartClock, model: Any) -> None:
    """Count the time of a detector's parts, of those that it has."""
    for path, method, title in WATCHED:
        part = model
        for name in path.split("."):
            part = getattr(part, name, None)
        if hasattr(part, method):
            clock.watch(part, method, title)
