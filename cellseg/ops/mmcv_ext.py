"""What mmcv calls in place of its compiled ops: it is loaded under the name ``mmcv._ext``.

The functions have the names and arguments of mmcv's. Every other op is answered by a function that
raises, since mmcv.ops wants to see more than a hundred of them when it is imported.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from cellseg import ops
from cellseg.errors import CellsegError


class MissingOpError(CellsegError, NotImplementedError):
    """A model uses an op that needs a compiled mmcv."""


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Find the boxes to keep; see `cellseg.ops.nms`."""
    return ops.nms(boxes, scores, iou_threshold, offset)


def roi_align_forward(
    input: Tensor,  # noqa: A002  (mmcv's name)
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the RoIs' features into ``output`` (n, C, aligned_height, aligned_width)."""
    _demand_averages(pool_mode)
    size = (aligned_height, aligned_width)
    with torch.no_grad():
        output.copy_(ops.roi_align(input, rois, size, spatial_scale, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of the features into ``grad_input`` (B, C, h, w)."""
    _demand_averages(pool_mode)
    size = (aligned_height, aligned_width)
    with torch.enable_grad():
        features = grad_input.detach().clone().requires_grad_()
        values = ops.roi_align(features, rois, size, spatial_scale, sampling_ratio, aligned)
        (grad,) = torch.autograd.grad(values, features, grad_output)
    grad_input.copy_(grad)


def get_compiler_version() -> str:
    """Answer mmcv's report of the environment."""
    return "n/a (mmcv's ops are not compiled)"


def get_compiling_cuda_version() -> str:
    """Answer mmcv's report of the environment."""
    return "n/a"


def __getattr__(name: str) -> Callable[..., NoReturn]:
    """Answer for any other op of mmcv with a function that raises; no op starts with '_'."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def missing(*args: Any, **kwargs: Any) -> NoReturn:
        raise MissingOpError(f"mmcv's op {name} needs a compiled mmcv; see docs/install.md")

    missing.__name__ = missing.__qualname__ = name
    return missing


def _demand_averages(pool_mode: int) -> None:
    if pool_mode == 0:
        raise MissingOpError(
            "mmcv's roi_align with pool_mode='max' needs a compiled mmcv; see docs/install.md"
        )
