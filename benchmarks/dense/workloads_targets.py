"""What training aims at, and how predictions leave: anchors, mask targets and RLEs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator  # noqa: F401  (registers)
from mmdet.registry import MODELS
from mmdet.structures.mask import BitmapMasks, encode_mask_results, mask_target
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from pycocotools import mask as mask_api
from torch import Tensor

from cellseg.datasets.transforms import LoadLabelMaps

from .scenes import DrawnScene, read_entries
from .stock import read_model_config

_CONFIG = "mask-rcnn_r18_small-anchor"
NUM_ROIS = 128  # positive RoIs an image in training
LOGIT_SHARPNESS = 4.0


def prepare_rpn_targets(scene: DrawnScene, side: str, device: str = "cpu") -> Callable[[], tuple]:
    """Prepare RPNHead.get_targets for one image with all its anchors, on a device."""
    init_default_scope("mmdet")
    model = read_model_config(_CONFIG, side, scene.size_px)
    head = MODELS.build(
        {**model.rpn_head, "train_cfg": model.train_cfg.rpn, "test_cfg": model.test_cfg.rpn}
    )
    sizes = [(-(-scene.size_px // stride[1]),) * 2 for stride in head.prior_generator.strides]
    shape = (scene.size_px, scene.size_px)
    metas = [{"img_shape": shape, "pad_shape": shape}]
    anchors, valid_flags = head.get_anchors(sizes, metas, device)
    boxes = _read_boxes(scene).to(device)
    cells = InstanceData(bboxes=boxes, labels=boxes.new_zeros(len(boxes), dtype=torch.long))

    def run() -> tuple:
        torch.manual_seed(0)
        np.random.seed(0)
        return head.get_targets(anchors, valid_flags, [cells], metas)

    return run


def same_rpn_targets(stock: tuple, ours: tuple) -> bool:
    """Compare labels, weights and boxes of all levels, and the number of samples."""
    tensors = zip(stock[:4], ours[:4], strict=True)
    return stock[4] == ours[4] and all(
        torch.equal(theirs, mine)
        for levels in tensors
        for theirs, mine in zip(*levels, strict=True)
    )


def prepare_mask_targets(scene: DrawnScene, side: str, device: str = "cpu") -> Callable[[], Tensor]:
    """Prepare mmdet's mask_target for RoIs near the cells, which lie on a device."""
    entry = read_entries(scene)[0]
    if side == "stock":
        bitmaps = [mask_api.decode(cell["mask"]) for cell in entry["instances"]]
        masks: Any = BitmapMasks(bitmaps, scene.size_px, scene.size_px)
    else:
        masks = LoadLabelMaps()(entry)["gt_masks"]
    rng = np.random.default_rng(0)
    inds = rng.integers(scene.cells, size=NUM_ROIS)
    boxes = _read_boxes(scene).numpy()[inds]
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    rois = torch.from_numpy(
        (boxes + sides * rng.normal(0, 0.1, boxes.shape)).astype(np.float32)
    ).to(device)
    assigned = torch.from_numpy(inds).to(device)
    config = ConfigDict(mask_size=28)
    return lambda: mask_target([rois], [assigned], [masks], config)


def same_mask_targets(stock: Tensor, ours: Tensor) -> bool:
    """Compare all targets; a mean within rounding of the threshold may fall on either side."""
    return stock.shape == ours.shape and float((stock != ours).float().mean()) < 1e-4


def prepare_detections_to_rle(
    scene: DrawnScene, side: str, device: str = "cpu"
) -> Callable[[], list[dict]]:
    """Prepare the way from mask logits to RLEs: paste and encode, or CroppedMaskHead."""
    init_default_scope("mmdet")
    model = read_model_config(_CONFIG, side, scene.size_px)
    head = MODELS.build(model.roi_head.mask_head)
    boxes = _read_boxes(scene).to(device)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, head.num_classes, (len(boxes),), generator=generator).to(device)
    logits = _draw_logits(len(boxes), head.num_classes, generator).to(device)
    shape = (scene.size_px, scene.size_px)
    meta = {"ori_shape": shape, "img_shape": shape, "scale_factor": (1.0, 1.0)}

    @torch.no_grad()
    def run() -> list[dict]:
        results = InstanceData(bboxes=boxes, labels=labels)
        (results,) = head.predict_by_feat(
            (logits,), [results], [meta], model.test_cfg.rcnn, rescale=True
        )
        if side != "stock":
            return results.masks
        return encode_mask_results(results.masks.detach().cpu().numpy())

    return run


def same_detections(stock: list[dict], ours: list[dict]) -> bool:
    """Compare all pixels; a probability within rounding of the threshold may fall either way."""
    if len(stock) != len(ours):
        return False
    stock = [{**rle, "counts": _as_text(rle["counts"])} for rle in stock]
    differing = [
        int((mask_api.decode(theirs) != mask_api.decode(mine)).sum())
        for theirs, mine in zip(stock, ours, strict=True)
        if theirs != mine
    ]
    return sum(differing) <= 1e-5 * sum(int(mask_api.area(rle)) for rle in stock) + 1


def _as_text(counts: str | bytes) -> str:
    """Return the text of an RLE, which pycocotools writes as bytes."""
    return counts if isinstance(counts, str) else counts.decode()


def _read_boxes(scene: DrawnScene) -> Tensor:
    """Return the (N, 4) float32 boxes of a scene's first image, in pixels."""
    boxes = [cell["bbox"] for cell in read_entries(scene)[0]["instances"]]
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)


def _draw_logits(number: int, num_classes: int, generator: torch.Generator) -> Tensor:
    """Draw (number, num_classes, 28, 28) mask logits: uneven discs that fill their boxes."""
    places = torch.linspace(-1, 1, 28)
    discs = 0.9 - (places[:, None] ** 2 + places**2).sqrt()
    noise = torch.randn(number, num_classes, 7, 7, generator=generator) * 0.2
    noise = torch.nn.functional.interpolate(noise, size=(28, 28), mode="bilinear")
    return (discs + noise) * LOGIT_SHARPNESS
