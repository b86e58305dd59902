"""Which code computes the ops: torchvision's CUDA kernels where they can be had, or our own.

The choice is made once, when this module is imported.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from cellseg.ops.roi_align import Grid


def load_torchvision() -> tuple[ModuleType | None, str]:
    """Import torchvision's ops; return None and the reason where they do not load or do not run."""
    try:
        ops = importlib.import_module("torchvision.ops")
        ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
        if not has_cuda_kernels():
            return None, "torchvision was built without CUDA"
    except ModuleNotFoundError as error:
        is_absent = error.name == "torchvision" and error.__cause__ is None
        return None, "torchvision is not installed" if is_absent else str(error)
    except Exception as error:  # whatever an unsuitable build raises must not stop a run
        return None, f"torchvision does not work beside this torch ({error})"
    return ops, ""


def has_cuda_kernels() -> bool:
    """Return whether the torchvision that is loaded was built for CUDA."""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    return all(has_kernel(f"torchvision::{name}", "CUDA") for name in ("nms", "roi_align"))


_torchvision: Any
_torchvision, _reason = load_torchvision() if torch.cuda.is_available() else (None, "")


def uses_torchvision(tensor: Tensor) -> bool:
    """Return whether torchvision computes an op on a tensor."""
    return _torchvision is not None and tensor.is_cuda


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Run torchvision's NMS on float32 boxes, by mmcv's rule at the threshold.

    mmcv rounds the threshold to float32 before it compares; torchvision would take an IoU of
    float32(0.3) for one above 0.3.
    """
    return _torchvision.nms(boxes, scores, float(np.float32(iou_threshold)))


def roi_align(features: Tensor, rois: Tensor, grid: "Grid") -> Tensor:
    """Run torchvision's RoIAlign."""
    size = (grid.rows, grid.columns)
    settings = (grid.spatial_scale, grid.sampling_ratio, grid.is_aligned)
    return _torchvision.roi_align(features, rois, size, *settings)


def describe_backend() -> str:
    """Return a sentence that says what computes NMS and RoIAlign."""
    own = "NMS and RoIAlign: cellseg's own on the CPU"
    if _torchvision is not None:
        version = importlib.import_module("torchvision").__version__
        return f"{own}, torchvision {version}'s on the GPU"
    if _reason:
        return f"{own} and on the GPU, since {_reason}"
    return own
