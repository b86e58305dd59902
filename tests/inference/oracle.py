"""A detector that sees perfectly, and images for it: cells painted in colors of their own."""

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from numpy.typing import NDArray

import cellseg  # noqa: F401  (registers the transforms)
from cellseg.structures.rle import encode_label_map

CLASS_NAMES = ("round", "long cell", "small", "odd")
WHITE = 2**24 - 1


@MODELS.register_module(force=True)
class ColorOracle(BaseModel):
    """Finds every cell of `paint_cells`: one color is one cell, white is background.

    Class and score follow from the color, so that every view of a cell agrees. Cells are cut where
    the image ends, as a real detector's are.
    """

    def forward(self, inputs, data_samples=None, mode="predict"):
        return self.test_step({"inputs": inputs, "data_samples": data_samples})

    def test_step(self, data):
        samples = []
        for image, sample in zip(data["inputs"], data["data_samples"], strict=True):
            sample = sample.clone()
            colors = image.cpu().numpy().astype(np.int64)
            codes = (colors[0] << 16) + (colors[1] << 8) + colors[2]
            codes = _resize_nearest(codes, sample.ori_shape[:2])
            ids, boxes, _, rles = encode_label_map(np.where(codes == WHITE, 0, codes))
            sample.pred_instances = InstanceData(
                bboxes=torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                scores=torch.as_tensor(score_of(ids), dtype=torch.float32),
                labels=torch.as_tensor(ids % len(CLASS_NAMES)),
                masks=rles,
            )
            samples.append(sample)
        return samples


def score_of(codes: NDArray[np.integer]) -> NDArray[np.floating]:
    """Give a color its score, 0.5 to 1."""
    return 0.5 + (codes * 37 % 101) / 202


def _resize_nearest(codes: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.int64]:
    rows, columns = (
        ((np.arange(wanted) + 0.5) * given / wanted).astype(int)
        for wanted, given in zip(shape, codes.shape, strict=True)
    )
    return codes[rows][:, columns]


def paint_label_map(label_map: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Paint each cell of a label map in a color of its own: (H, W, 3) uint8 B, G, R."""
    codes = np.where(label_map > 0, (label_map.astype(np.int64) * 7919) % WHITE, WHITE)
    return np.stack((codes >> 16, (codes >> 8) & 255, codes & 255), axis=2).astype(np.uint8)


def draw_label_map(
    size: int = 1100, spacing: int = 48, seed: int = 0, largest: float = 22.0
) -> NDArray[np.int32]:
    """Draw ellipses on a jittered grid; neighbors may touch, then the later one wins."""
    rng = np.random.default_rng(seed)
    label_map = np.zeros((size, size), dtype=np.int32)
    rows, columns = np.mgrid[:size, :size]
    number = 0
    for y in range(spacing // 2, size, spacing):
        for x in range(spacing // 2, size, spacing):
            number += 1
            cy, cx = y + rng.uniform(-8, 8), x + rng.uniform(-8, 8)
            a, b = rng.uniform(7, largest, 2)
            reach = int(largest) + 1
            part = np.s_[
                max(int(cy) - reach, 0) : int(cy) + reach, max(int(cx) - reach, 0) : int(cx) + reach
            ]
            inside = ((rows[part] - cy) / a) ** 2 + ((columns[part] - cx) / b) ** 2 < 1
            label_map[part][inside] = number
    return label_map


def oracle_config(input_size: int = 512) -> Config:
    """Make the config of a ColorOracle."""
    keys = ("img_id", "img_name", "img_path", "ori_shape", "img_shape", "scale_factor")
    return Config(
        dict(
            default_scope="mmdet",
            model=dict(type="ColorOracle"),
            test_dataloader=dict(
                dataset=dict(
                    type="CellDataset",
                    metainfo=dict(classes=CLASS_NAMES),
                    channel_order="bgr",
                    pipeline=[
                        dict(type="LoadCellImage"),
                        dict(type="Resize", scale=(input_size, input_size), keep_ratio=True),
                        dict(type="PackDetInputs", meta_keys=keys),
                    ],
                )
            ),
        )
    )
