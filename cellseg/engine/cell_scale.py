"""Set how much images are enlarged once: `cell_scale = 1.6` at the top of a config."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from cellseg.datasets.folder_facts import is_pixel_size
from cellseg.defaults import SPLITS
from cellseg.errors import CellsegError

KEY = "cell_scale"
_USUAL_CROP_PX = 320


def set_cell_scale(config: Config) -> None:
    """Give the pipelines of a scale to all data sets of a config that have none.

    Args:
        config: The config, which is changed; without `cell_scale` it stays as it is.

    Raises:
        CellsegError: If `cell_scale` is not a number above 0.
    """
    scale = config.get(KEY)
    if scale is None:
        return
    if not is_pixel_size(scale):
        raise CellsegError(
            f"{config.filename}: {KEY} is {scale!r}, but must be a number above 0: network pixels "
            "per image pixel, such as 1.6."
        )
    crop_px = find_crop_size(config.get("model") or {})
    for split in SPLITS:
        dataset = (config.get(f"{split}_dataloader") or {}).get("dataset")
        while dataset is not None and "dataset" in dataset:
            dataset = dataset["dataset"]
        if dataset is None or dataset.get("pipeline"):
            continue
        if split == "train":
            dataset["pipeline"] = make_train_pipeline(scale, crop_px, config.meta_keys)
        else:
            dataset["pipeline"] = make_test_pipeline(scale, config.meta_keys)


def find_crop_size(network: Mapping[str, Any]) -> int:
    """Find the side of the crops that a model is trained on, in network pixels."""
    augments = (network.get("data_preprocessor") or {}).get("batch_augments") or []
    sizes = [max(step["size"]) for step in augments if "size" in step]
    return int(sizes[0]) if sizes else _USUAL_CROP_PX


def make_train_pipeline(
    scale: float, crop_px: int, meta_keys: Sequence[str]
) -> list[dict[str, Any]]:
    """Write the training pipeline of the light recipes, at a scale.

    Args:
        scale: Network pixels per image pixel.
        crop_px: Side of the crops in network pixels.
        meta_keys: What the network's part of the sample is told of the image.
    """
    raw_px = max(math.ceil(crop_px / scale / 0.8), 1)  # what fills the crop at the smallest factor
    side = round(raw_px * scale)
    crop = dict(type="RandomCrop", allow_negative_crop=True, recompute_bbox=True)
    return [
        dict(type="LoadCellImage"),
        dict(type="LoadLabelMaps"),
        dict(crop, crop_size=(raw_px, raw_px)),
        # By a factor, not to a size: a smaller image would be enlarged more than the others.
        dict(
            type="LimitedResize",
            scale=(side, side),
            factor_range=(scale, scale),
            ratio_range=(0.8, 1.25),
        ),
        dict(crop, crop_size=(crop_px, crop_px)),
        dict(type="FilterAnnotations", min_gt_bbox_wh=(4, 4), keep_empty=False),
        dict(type="RandomTranspose", prob=0.5),
        dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]),
        dict(type="StainJitter", scale_range=0.2, shift_range=0.05),
        dict(type="PackDetInputs", meta_keys=tuple(meta_keys)),
    ]


def make_test_pipeline(scale: float, meta_keys: Sequence[str]) -> list[dict[str, Any]]:
    """Write the test pipeline, at a scale; arguments are as for `make_train_pipeline`."""
    return [
        dict(type="LoadCellImage"),
        dict(type="Resize", scale_factor=scale, keep_ratio=True),
        dict(type="PackDetInputs", meta_keys=(*meta_keys, "instances")),
    ]
