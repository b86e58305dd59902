"""Compare the cells of two predictions of one image, one to one."""

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

LEAST_IOU, MOST_SCORE = 0.99, 1e-3


def compare_cells(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Pair the cells of two predictions so that the sum of their IoUs is highest.

    Args:
        before: "boxes" (N, 4) in pixels, "scores" (N,), "labels" (N,), and "rles", N masks; N may
            be 0.
        now: The same of the other prediction.

    Returns:
        How many cells each has, how many pairs of one class overlap at all, how many of them by
        more than LEAST_IOU, and of all pairs the least IoU and the largest differences of scores
        and of the sides of boxes in pixels.
    """
    counts = {"before": len(before["rles"]), "now": len(now["rles"])}
    if not min(counts.values()):
        return {**counts, "pairs": 0, "alike": 0, **dict.fromkeys(("iou", "score", "box_px"), 0.0)}
    ious = np.asarray(coco_mask.iou(before["rles"], now["rles"], [0] * counts["now"]))
    ious = ious * (np.array(before["labels"])[:, None] == np.array(now["labels"]))
    one, two = linear_sum_assignment(ious, maximize=True)
    is_pair = ious[one, two] > 0
    one, two = one[is_pair], two[is_pair]
    paired = ious[one, two]
    scores = np.abs(np.array(before["scores"])[one] - np.array(now["scores"])[two])
    boxes = np.abs(np.array(before["boxes"])[one] - np.array(now["boxes"])[two])
    return {
        **counts,
        "pairs": len(paired),
        "alike": int((paired > LEAST_IOU).sum()),
        "iou": float(paired.min(initial=1.0)),
        "score": float(scores.max(initial=0.0)),
        "box_px": float(boxes.max(initial=0.0)),
    }


def are_same(compared: dict[str, Any]) -> bool:
    """Return whether every cell has a partner of an IoU above LEAST_IOU, and of its score."""
    counts = {compared[name] for name in ("before", "now", "alike")}
    return len(counts) == 1 and compared["score"] <= MOST_SCORE
