"""Non-maximum suppression by mmcv's rule."""

import torch
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Find the boxes that no kept box of a higher score overlaps by more than a threshold.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels; N may be 0.
        scores: (N,) float.
        iou_threshold: A box is dropped where its IoU with a kept one is above this.
        offset: 0, or 1 where x2 and y2 lie within the box.

    Returns:
        (K,) int64 indices of the kept boxes, by falling score.
    """
    order = scores.float().sort(descending=True, stable=True)[1]
    boxes = boxes.float()[order]
    lows, highs = boxes[:, :2], boxes[:, 2:]
    areas = (highs - lows + offset).prod(dim=1)
    is_alive = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    threshold = torch.tensor(iou_threshold, dtype=torch.float32, device=boxes.device)
    for rank in range(len(boxes)):
        if not is_alive[rank]:
            continue
        rest = slice(rank + 1, None)
        sides = torch.minimum(highs[rank], highs[rest]) - torch.maximum(lows[rank], lows[rest])
        inter = (sides + offset).clamp(min=0).prod(dim=1)
        is_alive[rest] &= ~(inter / (areas[rank] + areas[rest] - inter) > threshold)
    return order[is_alive]
