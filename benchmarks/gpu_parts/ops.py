"""Operators, targets and pasted masks: the same on the GPU as on the CPU, and how fast."""

import itertools
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from dense.scenes import DrawnScene
from dense.workloads_targets import (
    prepare_detections_to_rle,
    prepare_mask_targets,
    prepare_rpn_targets,
    same_detections,
    same_mask_targets,
)
from torch import Tensor

from cellseg.ops import nms, roi_align

from .clock import time_calls
from .report import Report, Row, Settings

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Largest difference relative to the largest value; lower precisions round to 11 and 8 bits.
TOLERANCES = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
DELTA_TOLERANCE = 1e-5  # of box targets, which are logarithms and ratios near 1
IOU_THRESHOLD = 0.7
_REPEATS = 5


def run(settings: Settings, report: Report) -> None:
    """Compare every operator in each precision, then targets and masks of drawn cells."""
    for number, dtype in itertools.product(
        settings.pick((200,), (1000, 8000, 40_000)), settings.pick(DTYPES[:2], DTYPES)
    ):
        report.attempt(
            f"nms, {number} boxes, {_name(dtype)}",
            lambda number=number, dtype=dtype: compare_nms(number, dtype, settings.device),
        )
    for side, sampling, dtype in itertools.product(
        settings.pick((7,), (7, 14)), (0, 2), settings.pick(DTYPES[:2], DTYPES)
    ):
        report.attempt(
            f"roi_align, {side} x {side}, sampling_ratio {sampling}, {_name(dtype)}",
            lambda side=side, sampling=sampling, dtype=dtype: compare_roi_align(
                side, sampling, dtype, settings
            ),
        )
    for cells, (name, prepare, agree) in itertools.product(
        settings.pick((8,), (100, 400, 1000)), WORKLOADS
    ):
        scene = DrawnScene(cells, settings.pick(128, 1024), 1, settings.scratch / "drawn")
        report.attempt(
            f"{name}, {cells} cells",
            lambda scene=scene, prepare=prepare, agree=agree: compare_work(
                scene, prepare, agree, settings.device
            ),
        )


def compare_nms(number: int, dtype: torch.dtype, device: str) -> Row:
    """Compare the boxes that NMS keeps on a device with those that it keeps on the CPU.

    Args:
        number: Boxes, of the size of cells and as dense as a detector's proposals.
        dtype: Of the boxes.
        device: Where they lie.

    Returns:
        Boxes kept, boxes that only one of the two keeps, and milliseconds on both.
    """
    boxes, scores = draw_boxes(number)
    boxes = boxes.to(dtype)
    on_device = boxes.to(device), scores.to(device)
    kept = nms(boxes, scores, IOU_THRESHOLD)
    found = nms(*on_device, IOU_THRESHOLD).cpu()
    differing = set(kept.tolist()) ^ set(found.tolist())
    return {
        "agree": torch.equal(kept, found),
        "kept": len(kept),
        "differing": len(differing),
        "ms": _median_ms(lambda: nms(*on_device, IOU_THRESHOLD), device),
        "cpu_ms": _median_ms(lambda: nms(boxes, scores, IOU_THRESHOLD), "cpu"),
    }


def draw_boxes(number: int) -> tuple[Tensor, Tensor]:
    """Draw (N, 4) float32 boxes of 8 to 48 px, eight around each cell, and distinct scores (N,)."""
    generator = torch.Generator().manual_seed(number)
    side_px = 11 * number**0.5
    centers = (torch.rand(-(-number // 8), 2, generator=generator) * side_px).repeat(8, 1)[:number]
    centers += torch.randn(number, 2, generator=generator) * 3
    sizes = 8 + 40 * torch.rand(number, 2, generator=generator)
    scores = torch.randperm(number, generator=generator) / number
    return torch.cat([centers - sizes / 2, centers + sizes / 2], dim=1), scores


def compare_roi_align(side: int, sampling: int, dtype: torch.dtype, settings: Settings) -> Row:
    """Compare samples and gradients on a device with those of float32 on the CPU.

    Args:
        side: Bins along each axis.
        sampling: Samples per bin along each axis; 0 for one per feature pixel.
        dtype: Of the features on the device.
        settings: Say on which device, and how large the features are.

    Returns:
        The largest differences of both passes relative to the largest value, and milliseconds.
    """
    channels, size, number = settings.pick((8, 32, 16), (256, 256, 512))
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, channels, size, size, generator=generator).to(dtype)
    boxes, _ = draw_boxes(number)
    images = torch.arange(number).remainder(2)[:, None].float()
    rois = torch.cat([images, boxes.clamp(0, 4 * size)], dim=1)
    weights = torch.randn(number, channels, side, side, generator=generator)

    def sample(leaf: Tensor, rois: Tensor) -> Tensor:
        return roi_align(leaf, rois, (side, side), 0.25, sampling)

    def both_passes(leaf: Tensor, rois: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        sampled = sample(leaf, rois)
        (gradient,) = torch.autograd.grad((sampled.float() * weights).sum(), leaf)
        return sampled.detach().float(), gradient.float()

    expected = both_passes(features.float().requires_grad_(), rois, weights)
    parts = features.to(settings.device).requires_grad_(), rois.to(settings.device)
    on_device = weights.to(settings.device)
    found = [value.cpu() for value in both_passes(*parts, on_device)]
    forward, backward = (
        float((mine - theirs).abs().max() / theirs.abs().max())
        for mine, theirs in zip(found, expected, strict=True)
    )
    return {
        "agree": max(forward, backward) <= TOLERANCES[dtype],
        "forward_difference": forward,
        "backward_difference": backward,
        "forward_ms": _median_ms(lambda: sample(*parts), settings.device),
        "both_ms": _median_ms(lambda: both_passes(*parts, on_device), settings.device),
    }


def compare_work(
    scene: DrawnScene,
    prepare: Callable[[DrawnScene, str, str], Callable[[], Any]],
    agree: Callable[[Any, Any], bool],
    device: str,
) -> Row:
    """Compare a work on a device with the same on the CPU, and with MMDetection's on the device.

    Returns:
        Whether the results agree, and milliseconds of all three.
    """
    ours, on_cpu = prepare(scene, "ours", device), prepare(scene, "ours", "cpu")
    values: Row = {"agree": agree(to_cpu(on_cpu()), to_cpu(ours()))}
    values["ms"] = _median_ms(ours, device)
    values["cpu_ms"] = _median_ms(on_cpu, "cpu")
    try:
        values["mmdet_ms"] = _median_ms(prepare(scene, "stock", device), device)
    except Exception as error:
        values["mmdet_failure"] = f"{type(error).__name__}: {error}"[:200]
    return values


def to_cpu(value: Any) -> Any:
    """Copy tensors in nested lists and tuples to the CPU."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, list | tuple):
        return type(value)(to_cpu(inner) for inner in value)
    return value


def near_rpn_targets(on_cpu: tuple, on_device: tuple) -> bool:
    """Compare labels, weights and samples exactly, and box targets to a device's logarithm."""
    differences = [
        float((theirs - mine).abs().max())
        for theirs, mine in zip(on_cpu[2], on_device[2], strict=True)
    ]
    rest = [(side[:2], side[3], side[4]) for side in (on_cpu, on_device)]
    levels = [[*labels_and_weights, weights] for labels_and_weights, weights, _ in rest]
    same = all(
        torch.equal(theirs, mine)
        for on_one, on_other in zip(*levels, strict=True)
        for theirs, mine in zip(on_one, on_other, strict=True)
    )
    return same and rest[0][2] == rest[1][2] and max(differences) <= DELTA_TOLERANCE


WORKLOADS: tuple[tuple[str, Callable, Callable], ...] = (
    ("RPN targets", prepare_rpn_targets, near_rpn_targets),
    ("mask targets of 128 RoIs", prepare_mask_targets, same_mask_targets),
    ("masks to RLE", prepare_detections_to_rle, same_detections),
)


def _median_ms(work: Callable[[], Any], device: str) -> float:
    """Return the median of a few calls."""
    return median(time_calls(work, device, _REPEATS))


def _name(dtype: torch.dtype) -> str:
    """Name a dtype without its module."""
    return str(dtype).removeprefix("torch.")
