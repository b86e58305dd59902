"""A small fixed Mask R-CNN: its predictions and one training step, as numbers.

`small_model.json` was written by `python tests/ops/small_model.py` at commit 2bc63f7, where mmcv's
compiled ops computed both; only with them is it written again.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import cellseg  # noqa: F401  (registers the project's parts)

SIZE_PX = 128
REFERENCE = Path(__file__).with_suffix(".json")
CONFIG = "configs/cell/mask-rcnn_r18_small-anchor_demo.py"


def build_model(extractor: str) -> Any:
    """Build the model from a fixed seed, with outputs that differ enough not to tie."""
    init_default_scope("mmdet")
    cfg = Config.fromfile(CONFIG).model
    cfg.backbone.init_cfg = None
    cfg.data_preprocessor.batch_augments[0].size = (SIZE_PX, SIZE_PX)
    for proposals in (cfg.train_cfg.rpn_proposal, cfg.test_cfg.rpn):
        proposals.update(nms_pre=200, max_per_img=60)
    cfg.train_cfg.rcnn.sampler.num = 32
    cfg.test_cfg.rcnn.update(score_thr=0.0, max_per_img=20)
    for name in ("bbox_roi_extractor", "mask_roi_extractor"):
        cfg.roi_head[name].type = extractor
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    with torch.no_grad():
        for layer in (model.rpn_head.rpn_cls, model.roi_head.bbox_head.fc_cls):
            layer.weight.mul_(20)
    return model


def draw_batch() -> dict[str, Any]:
    """Draw two images with four cells each."""
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.integers(0, 256, (2, 3, SIZE_PX, SIZE_PX), np.uint8))
    samples = []
    for number in range(2):
        corners = np.array([[8, 10], [70, 12], [20, 64], [72, 80]]) + 3 * number
        boxes = np.concatenate([corners, corners + [[24, 20], [30, 33], [18, 26], [40, 21]]], 1)
        masks = np.zeros((4, SIZE_PX, SIZE_PX), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
            mask[y1:y2, x1:x2] = 1
        shape = (SIZE_PX, SIZE_PX)
        meta = dict(img_shape=shape, ori_shape=shape, pad_shape=shape, scale_factor=(1.0, 1.0))
        sample = DetDataSample(metainfo={**meta, "batch_input_shape": shape})
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(boxes).float(),
            labels=torch.zeros(4, dtype=torch.long),
            masks=BitmapMasks(masks, *shape),
        )
        samples.append(sample)
    return dict(inputs=list(images), data_samples=samples)


def run_small_model(extractor: str) -> dict[str, list[float]]:
    """Run one training step, and predict in evaluation mode; return what they give."""
    model = build_model(extractor)
    torch.manual_seed(1)
    np.random.seed(1)
    model.train()
    losses = model(**model.data_preprocessor(draw_batch(), training=True), mode="loss")
    values = {k: sum(v) if isinstance(v, list) else v for k, v in losses.items()}
    sum(value for key, value in values.items() if "loss" in key).backward()
    found = {key: [float(value.detach())] for key, value in values.items() if "loss" in key}
    for name in ("backbone.layer4.1.conv2", "neck.lateral_convs.0.conv", "rpn_head.rpn_conv"):
        grad = model.get_submodule(name).weight.grad
        found[f"gradient of {name}"] = grad.flatten()[:: grad.numel() // 8].tolist()
    model.eval()
    with torch.no_grad():
        feats = model.extract_feat(model.data_preprocessor(draw_batch(), training=False)["inputs"])
        samples = model.data_preprocessor(draw_batch(), training=False)["data_samples"]
        proposals = model.rpn_head.predict(feats, samples, rescale=False)
        cells = model.roi_head.predict_bbox(
            feats,
            [sample.metainfo for sample in samples],
            proposals,
            model.test_cfg.rcnn,
        )
    for number, (boxes, result) in enumerate(zip(proposals, cells, strict=True)):
        found[f"proposals {number}"] = boxes.bboxes.flatten().tolist()
        found[f"boxes {number}"] = result.bboxes.flatten().tolist()
        found[f"scores {number}"] = result.scores.tolist()
    return found


def main() -> None:
    """Write the reference."""
    import mmcv._ext

    if not mmcv._ext.__file__.endswith(".so"):
        raise SystemExit("this needs a compiled mmcv")
    REFERENCE.write_text(json.dumps(run_small_model("SingleRoIExtractor")) + "\n")


if __name__ == "__main__":
    main()
