"""AP of the masks of a validation set, by mmdet's CocoMetric and by CellMetric."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmdet.evaluation import CocoMetric
from numpy.typing import NDArray

from cellseg.images import read_label_map
from cellseg.scoring.metric import CellMetric
from cellseg.structures.rle import encode_label_map

from .scenes import DrawnScene, draw_scene

CLASSES = ("epithelial", "lymphocyte", "neutrophil", "macrophage")
COMPARED = ("coco/segm_mAP", "coco/segm_mAP_50", "coco/segm_mAP_75")
VIEWS = 6  # of each drawn image: turned by right angles and mirrored
MISSED_SHARE = 0.1


def prepare_average_precision(scene: DrawnScene, side: str) -> Callable[[], dict[str, float]]:
    """Prepare a metric with the ground truth and predictions of VIEWS views of each image.

    Classes go round over the cells, so that 400 cells per image give at most 100 of a class:
    CocoMetric takes mAP at 100 detections, CellMetric at 1000, and only so both mean the same.
    """
    samples = draw_samples(scene)
    metric = (
        CocoMetric(metric="segm")
        if side == "stock"
        else CellMetric(metric="segm", judge_cells=False)
    )
    metric.dataset_meta = {"classes": CLASSES}

    def run() -> dict[str, float]:
        metric.process({}, samples)
        return metric.evaluate(len(samples))

    return run


def same_scores(stock: dict[str, float], ours: dict[str, float]) -> bool:
    """Compare the figures that mean the same on both sides; CocoMetric rounds to three digits."""
    return all(abs(stock[key] - ours[key]) <= 0.0005 + 1e-9 for key in COMPARED)


def draw_samples(scene: DrawnScene) -> list[dict[str, Any]]:
    """Make data samples of each view, predictions being moved, partly missing and scored."""
    rng = np.random.default_rng(0)
    samples: list[dict[str, Any]] = []
    for folder in sorted(draw_scene(scene).glob("[0-9]*")):
        label_map = np.max([read_label_map(path) for path in folder.glob("class*.tif")], axis=0)
        for view in range(VIEWS):
            turned = np.rot90(label_map, view % 4)
            turned = np.ascontiguousarray(turned[:, ::-1] if view >= 4 else turned)
            samples.append(_to_sample(len(samples), turned, rng))
    return samples


def _to_sample(img_id: int, label_map: NDArray[np.int32], rng: np.random.Generator) -> dict:
    """Make one data sample of a label map."""
    _, boxes, areas, rles = encode_label_map(label_map)
    labels = np.arange(len(boxes)) % len(CLASSES)
    instances = [
        {"bbox": box, "bbox_label": label, "ignore_flag": 0, "mask": rle, "area": area}
        for box, label, rle, area in zip(
            boxes.tolist(), labels.tolist(), rles, areas.tolist(), strict=True
        )
    ]
    _, moved_boxes, _, moved_rles = encode_label_map(np.roll(label_map, (1, 1), axis=(0, 1)))
    kept = np.flatnonzero(rng.random(len(moved_boxes)) >= MISSED_SHARE)
    predictions = {
        "bboxes": torch.from_numpy(moved_boxes[kept]).float(),
        "scores": torch.from_numpy(rng.random(len(kept), dtype=np.float32)),
        "labels": torch.from_numpy(labels[kept]),
        "masks": [moved_rles[index] for index in kept],
    }
    return {
        "img_id": img_id,
        "ori_shape": label_map.shape,
        "instances": instances,
        "pred_instances": predictions,
    }
