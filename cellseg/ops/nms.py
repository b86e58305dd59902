"""Non-maximum suppression (NMS) by mmcv's rule, on any device.

A kept box drops every box of a lower score whose IoU with it is above the threshold. The IoU is
computed as in mmcv, in float32, so that all ways keep the same boxes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellseg.ops import backend, nms_blocks, nms_sweep

_PAIRS_ON_DEVICE = 1 << 22  # that are compared at a time; 16 MB for each number of a pair


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Find the boxes that no kept box of a higher score overlaps by more than a threshold.

    Boxes of equal scores are taken in the order in which they come. On a GPU torchvision's kernel
    is used where it can be.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels, of any floating type; N may be 0.
        scores: (N,) float.
        iou_threshold: A box is dropped where its IoU with a kept one is above this.
        offset: 0, or 1 where the pixels at x2 and y2 belong to the box.

    Returns:
        (K,) int64 indices of the kept boxes, by falling score.
    """
    boxes, scores = boxes.detach().float(), scores.detach()
    if backend.uses_torchvision(boxes) and offset == 0:
        return backend.nms(boxes, scores.float(), iou_threshold)
    if is_on_cpu(boxes):
        order = rank(scores.float().numpy())
        kept = nms_sweep.find_kept(boxes.numpy().take(order, axis=0), iou_threshold, offset)
        return torch.from_numpy(order[kept])
    order = scores.sort(descending=True, stable=True)[1]
    return order[nms_blocks.find_kept(boxes[order], iou_threshold, offset, _PAIRS_ON_DEVICE)]


def is_on_cpu(tensor: Tensor) -> bool:
    """Return whether numpy can read a tensor."""
    return tensor.device.type == "cpu"


def rank(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Sort (N,) scores from high to low, equal ones in their order; return (N,) indices.

    Numbers that hold a score and its place are sorted as integers, which is several times faster
    than a stable sort.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # -0 becomes 0
    falling = np.where(bits < 0, bits & 0x7FFFFFFF, ~bits).astype(np.int64)
    keys = (falling << 32) | np.arange(len(scores))
    keys.sort()
    keys &= 0xFFFFFFFF
    return keys
