"""NMS on any device with plain torch: blocks of boxes are compared with all later ones."""

import torch
from torch import Tensor

_MAX_BLOCK = 1024  # boxes
_MIN_BLOCK = 32  # boxes, however many there are to compare them with


def find_kept(boxes: Tensor, iou_threshold: float, offset: int, max_pairs: int) -> Tensor:
    """Return which boxes NMS keeps.

    The first boxes that are left settle among themselves which of them stay; these drop what they
    overlap of the rest. The host waits for the device a few times per block, not per box.

    Args:
        boxes: (N, 4) float32 x1, y1, x2, y2 on any device, the best first; N may be 0.
        iou_threshold: A box is dropped where its IoU with a kept one is above this.
        offset: 0, or 1 where the pixels at x2 and y2 belong to the box.
        max_pairs: About how many pairs are compared at a time; it bounds the memory.

    Returns:
        (N,) bool on the same device.
    """
    is_kept = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    edges, ranks = boxes.t().contiguous(), torch.arange(len(boxes), device=boxes.device)
    while len(ranks):
        size = min(max(max_pairs // len(ranks), _MIN_BLOCK), _MAX_BLOCK)
        first, rest = edges[:, :size], edges[:, size:]
        overlaps = find_overlaps(first, first, iou_threshold, offset)
        stays = settle(overlaps & (ranks[:size, None] < ranks[:size]))
        is_kept[ranks[:size]] = stays
        overlaps = find_overlaps(first[:, stays], rest, iou_threshold, offset)
        left = (~overlaps.any(dim=0)).nonzero()[:, 0]
        edges, ranks = rest[:, left], ranks[size:][left]
    return is_kept


def find_overlaps(first: Tensor, second: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return which pairs of boxes have an IoU above the threshold, in mmcv's rounding.

    Args:
        first: (4, N) float32 x1, y1, x2, y2.
        second: (4, M) likewise.
        iou_threshold: It is rounded to float32, too.
        offset: 0 or 1, see `find_kept`.

    Returns:
        (N, M) bool.
    """
    first = first[:, :, None]  # (4, N, 1)
    inter = _find_common(first[0], first[2], second[0], second[2], offset)
    inter *= _find_common(first[1], first[3], second[1], second[3], offset)
    union = _find_areas(first, offset) + _find_areas(second, offset)
    union -= inter
    inter /= union
    return inter > torch.tensor(iou_threshold, dtype=torch.float32).item()


def _find_common(low: Tensor, high: Tensor, low_2: Tensor, high_2: Tensor, offset: int) -> Tensor:
    """Return the length that (N, 1) and (M,) intervals have in common, 0 for none; (N, M)."""
    lengths = torch.minimum(high, high_2)
    lengths -= torch.maximum(low, low_2)
    return lengths.add_(offset).clamp_(min=0)


def _find_areas(edges: Tensor, offset: int) -> Tensor:
    return (edges[2] - edges[0] + offset) * (edges[3] - edges[1] + offset)


def settle(overlaps: Tensor) -> Tensor:
    """Return which boxes stay, given which of the later ones each overlaps; (N, N) to (N,) bool.

    Each round is right about one more link of a chain of boxes of which each drops the next.
    """
    stays = torch.ones(len(overlaps), dtype=torch.bool, device=overlaps.device)
    while True:
        again = ~(overlaps & stays[:, None]).any(dim=0)
        if torch.equal(again, stays):
            return stays
        stays = again
