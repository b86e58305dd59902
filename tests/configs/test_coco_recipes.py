"""The GPU recipes: size, normalisation, pretrained weights that fit, and steps on a CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import cellseg  # noqa: F401  (registers the project's parts)
from cellseg.structures.label_map_masks import LabelMapMasks

CONFIG_DIR = Path(__file__).resolve().parents[2] / "configs" / "cell"
RECIPES = {  # the COCO model whose weights each starts from
    "mask-rcnn_x101-32x8d_coco": "mask_rcnn/mask-rcnn_x101-32x8d_fpn_ms-poly-3x_coco.py",
    "cascade-mask-rcnn_x101-64x4d_coco": (
        "cascade_rcnn/cascade-mask-rcnn_x101-64x4d_fpn_ms-3x_coco.py"
    ),
    "cascade-mask-rcnn_swin-s_coco": "swin/mask-rcnn_swin-s-p4-w7_fpn_amp-ms-crop-3x_coco.py",
}


def load(name: str) -> Config:
    return Config.fromfile(CONFIG_DIR / f"{name}.py")


def load_stock(name: str) -> Config:
    """Read mmdet's config of the weights that a recipe starts from."""
    import mmdet

    path = Path(mmdet.__file__).parent / ".mim" / "configs" / RECIPES[name]
    return Config.fromfile(path)


def build(model: Any) -> Any:
    init_default_scope("mmdet")
    model.backbone.init_cfg = None
    return MODELS.build(model)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_always_normalises_as_its_weights_were_trained(name: str) -> None:
    ours, stock = (cfg.model.data_preprocessor for cfg in (load(name), load_stock(name)))
    for key in ("mean", "std", "bgr_to_rgb"):
        assert ours[key] == stock[key]


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_always_has_what_it_promises(name: str) -> None:
    cfg = load(name)
    anchors = cfg.model.rpn_head.anchor_generator
    assert [2 * stride for stride in anchors.strides] == [8, 16, 32, 64, 128]
    assert (anchors.scales, anchors.ratios) == ([2], [0.5, 1.0, 2.0])
    assert cfg.model.test_cfg.rcnn.max_per_img == 1000
    assert cfg.optim_wrapper.type == "AmpOptimWrapper"
    assert "EMAHook" in [hook.type for hook in cfg.custom_hooks]
    assert cfg.load_from.startswith("https://")
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert [step.type for step in loader.dataset.pipeline] == [
            "LoadCellImage",
            "LimitedResize",
            "PackDetInputs",
        ]


def make_batch(side: int = 96) -> dict[str, Any]:
    """Draw two images, one of which holds no cell."""
    samples = []
    for num_masks in (6, 0):
        layers = torch.zeros((1, side, side), dtype=torch.int32).numpy()
        for number in range(num_masks):
            layers[0, 10 + 12 * number : 20 + 12 * number, 10:40] = number + 1
        masks = LabelMapMasks(layers, [0] * num_masks, range(1, num_masks + 1))
        size = dict(img_shape=(side, side), ori_shape=(side, side), scale_factor=(1.0, 1.0))
        sample = DetDataSample(metainfo=dict(size, img_id=num_masks, img_path="drawn.tif"))
        boxes = masks.get_bboxes("hbox")
        labels = torch.zeros(num_masks, dtype=torch.int64)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels, masks=masks)
        sample.ignored_instances = InstanceData(
            bboxes=boxes[:0], labels=labels[:0], masks=masks[:0]
        )
        samples.append(sample)
    images = [torch.randint(0, 256, (3, side, side), dtype=torch.uint8) for _ in samples]
    return {"inputs": images, "data_samples": samples}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_recipe_when_built_then_small_enough_and_the_pretrained_rpn_fits(name: str) -> None:
    stock = build(load_stock(name).model)
    weights = {key: value.shape for key, value in stock.state_dict().items()}
    del stock
    model = build(load(name).model)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable < 200e6
    for key, value in model.state_dict().items():
        if key.startswith(("backbone", "neck", "rpn_head")):
            assert weights.get(key) == value.shape, key


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_recipe_when_run_on_a_cpu_then_two_steps_and_a_test_step_work(name: str) -> None:
    cfg = load(name)
    cfg.model.data_preprocessor.batch_augments = None
    for part in (cfg.model.train_cfg.rpn_proposal, cfg.model.test_cfg.rpn):
        part.update(nms_pre=60, max_per_img=40)
    stages = cfg.model.train_cfg.rcnn
    for stage in stages if isinstance(stages, list) else [stages]:
        stage.sampler.num = 16
    torch.manual_seed(0)
    model = build(cfg.model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    model.train()
    for _ in range(2):
        data = model.data_preprocessor(make_batch(), training=True)
        loss, _ = model.parse_losses(model(**data, mode="loss"))
        assert torch.isfinite(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        outputs = model.test_step(make_batch())
    assert all(isinstance(output.pred_instances.masks, list) for output in outputs)
