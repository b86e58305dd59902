"""From label TIFFs to annotations, and from annotations to what the network takes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from mmdet.structures.mask import BitmapMasks
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from pycocotools import mask as mask_api

from cellseg.datasets.cell_dataset import CellDataset

from .scenes import DrawnScene, draw_scene, read_entries, remove_cache
from .stock import read_config

_CONFIG = "mask-rcnn_r101_small-anchor"


def prepare_annotations(scene: DrawnScene, side: str) -> Callable[[], list[dict[str, Any]]]:
    """Prepare the way from TIFFs to boxes, areas and RLEs.

    'stock' converts one cell after another, as converters to COCO do; 'ours' is what CellDataset
    does on its first start, checks and cache included, and 'ours-second' on the start after it.
    """
    root = draw_scene(scene)
    if side == "stock":
        return lambda: convert_cell_by_cell(root)
    cache = remove_cache(scene.folder / "cache")
    dataset = CellDataset(data_root=root, channel_order="bgr", cache=cache, lazy_init=True)
    if side == "ours-second":
        dataset.load_data_list()
    return dataset.load_data_list


def convert_cell_by_cell(root: Path) -> list[dict[str, Any]]:
    """Convert label TIFFs as is usual: a full-size mask for every cell, encoded by pycocotools."""
    annotations = []
    for image_id, folder in enumerate(sorted(root.glob("[0-9]*"))):
        for path in sorted(folder.glob("class*.tif")):
            label_map = tifffile.imread(path)
            for label_id in np.unique(label_map):
                if label_id == 0:
                    continue
                mask = label_map == label_id
                rle = mask_api.encode(np.asfortranarray(mask, dtype=np.uint8))
                annotation = {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(path.stem.removeprefix("class")),
                    "bbox": mask_api.toBbox(rle).tolist(),
                    "area": int(mask_api.area(rle)),
                    "iscrowd": 0,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                }
                annotations.append(annotation)
    return annotations


def same_annotations(stock: list[dict[str, Any]], ours: list[dict[str, Any]]) -> bool:
    """Compare boxes, areas, classes and masks."""
    from_stock = []
    for row in stock:
        x, y, width, height = row["bbox"]
        box = [x, y, x + width, y + height]
        from_stock.append((box, row["area"], row["category_id"], row["segmentation"]["counts"]))
    from_ours = [
        (cell["bbox"], cell["area"], cell["bbox_label"] + 1, cell["mask"]["counts"])
        for entry in ours
        for cell in entry["instances"]
    ]
    return from_stock == from_ours


def prepare_pipeline(scene: DrawnScene, side: str, number: int = 0) -> Callable[[], dict[str, Any]]:
    """Prepare the training pipeline of one image, from its files to PackDetInputs.

    MMDetection reads the masks by LoadAnnotations into BitmapMasks; all else is the same config.
    """
    init_default_scope("mmdet")
    entry = read_entries(scene)[number]
    steps = read_config(_CONFIG).train_dataloader.dataset.pipeline
    for step in steps:
        if step["type"] == "LoadLabelMaps" and side == "stock":
            step.update(type="LoadAnnotations", with_bbox=True, with_mask=True)
        elif step["type"] == "Resize":
            step["scale"] = (scene.size_px, scene.size_px)
    pipeline = Compose(steps)

    def run() -> dict[str, Any]:
        np.random.seed(number)  # RandomFlip's only source: the same flip on both sides
        return pipeline(entry)

    return run


def same_packed_inputs(stock: dict[str, Any], ours: dict[str, Any]) -> bool:
    """Compare images, boxes, classes and every pixel of the masks."""
    theirs, mine = (packed["data_samples"].gt_instances for packed in (stock, ours))
    return (
        torch.equal(stock["inputs"], ours["inputs"])
        and torch.equal(theirs.bboxes.tensor, mine.bboxes.tensor)
        and torch.equal(theirs.labels, mine.labels)
        and isinstance(theirs.masks, BitmapMasks)
        and np.array_equal(theirs.masks.to_ndarray(), mine.masks.to_ndarray())
    )
