"""Every config parses, builds, and says what the ablation needs it to say."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cellseg.datasets.resize_factors import find_constant_factor, find_resize_factors
from cellseg.engine.configs import list_datasets
from tests.configs.small_models import skip_without_backbone

CONFIG_DIR = Path(__file__).resolve().parents[2] / "configs"
CONFIGS = sorted((CONFIG_DIR / "cell").glob("*.py"))
SMALL_RATIOS = [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0]


def load(name: str) -> Config:
    """Read a config of configs/cell by its stem."""
    return Config.fromfile(CONFIG_DIR / "cell" / f"{name}.py")


def _as_list(parts: Any) -> list:
    """Return the stages of a cascade, or the one part of a plain head as a list."""
    return list(parts) if isinstance(parts, list | torch.nn.ModuleList) else [parts]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_when_built_then_has_one_class_count(path: Path) -> None:
    """Model and data agree on the classes; the model builds."""
    cfg = Config.fromfile(path)
    skip_without_backbone(cfg.model)
    init_default_scope("mmdet")
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    heads = [*_as_list(model.roi_head.bbox_head), *_as_list(model.roi_head.mask_head)]
    datasets = list(list_datasets(cfg).values())
    assert len(datasets) == 3
    for dataset in datasets:
        assert {head.num_classes for head in heads} == {len(dataset.metainfo.classes)}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_always_names_the_dense_parts(path: Path) -> None:
    """No config falls back to the parts whose cost grows with cells x pixels."""
    model = Config.fromfile(path).model
    assert model.roi_head.type in ("RleRoIHead", "RleCascadeRoIHead")
    assert model.roi_head.mask_head.type == "CroppedMaskHead"
    for stage in (model.train_cfg.rpn, *_as_list(model.train_cfg.rcnn)):
        assert stage.assigner.type == "SparseMaxIoUAssigner"
    assert model.test_cfg.rcnn.max_per_img >= 1000


@pytest.mark.parametrize("depth", [18, 50, 101])
def test_small_anchor_when_built_then_fits_cells(depth: int) -> None:
    """One base size a level, 16 to 96 px on strides 4 to 64, and eight ratios."""
    cfg = load(f"mask-rcnn_r{depth}_small-anchor")
    anchors = cfg.model.rpn_head.anchor_generator
    assert cfg.model.backbone.depth == depth
    assert anchors.base_sizes == [16, 32, 48, 64, 96]
    assert anchors.strides == [4, 8, 16, 32, 64]
    assert anchors.ratios == SMALL_RATIOS


def test_default_anchor_when_built_then_spans_32_to_512_px() -> None:
    """The comparison's other side: 8 x stride, three ratios."""
    anchors = load("mask-rcnn_r101_default-anchor").model.rpn_head.anchor_generator
    assert [anchors.scales[0] * stride for stride in anchors.strides] == [32, 64, 128, 256, 512]
    assert anchors.ratios == [0.5, 1.0, 2.0]
    assert "base_sizes" not in anchors


def test_headline_always_keeps_the_reports_schedule() -> None:
    """Adam at 5e-5, batch 2, 150 epochs, 1024 x 1024."""
    cfg = load("mask-rcnn_r101_small-anchor")
    assert (cfg.optim_wrapper.optimizer.type, cfg.optim_wrapper.optimizer.lr) == ("Adam", 5e-5)
    assert cfg.train_dataloader.batch_size == 2
    assert cfg.train_cfg.max_epochs == 150
    assert cfg.model.data_preprocessor.batch_augments[0]["size"] == (1024, 1024)
    assert cfg.model.test_cfg.rpn.max_per_img >= 4000
    assert cfg.default_hooks.checkpoint.save_best == "coco/segm_mAP_50"


def test_strong_main_model_always_has_the_main_models_network() -> None:
    """Weights of one fit the other; only how it is trained and tested differs."""
    main, strong = load("mask-rcnn_r101_small-anchor"), load("mask-rcnn_r101_small-anchor_strong")
    assert strong.model.test_cfg.rcnn.max_per_img == 3000
    strong.model.test_cfg.rcnn.max_per_img = main.model.test_cfg.rcnn.max_per_img
    assert strong.model == main.model


def test_strong_main_model_always_has_what_its_docstring_promises() -> None:
    """Images enlarged 1.6 times, crops of one size, weight average, cosine, up to 3000 cells."""
    cfg = load("mask-rcnn_r101_small-anchor_strong")
    training = cfg.train_dataloader.dataset.pipeline
    for height, width in ((33, 300), (1000, 1000), (2500, 1700)):
        assert find_resize_factors(training, height, width) == pytest.approx((1.0, 2.0), rel=0.02)
    assert find_constant_factor(cfg.test_dataloader.dataset.pipeline) == 1.6
    steps = [step.type for step in training]
    assert {"RandomTranspose", "RandomFlip", "StainJitter"} < set(steps)
    assert training[steps.index("LimitedResize") + 1].crop_size == (1024, 1024)
    assert "EMAHook" in [hook.type for hook in cfg.custom_hooks]
    assert cfg.param_scheduler[-1].type == "CosineAnnealingLR"
    assert cfg.val_evaluator.max_dets == cfg.test_evaluator.max_dets == 3000


@pytest.mark.parametrize("name", ["demo", "dsb2018"])
def test_random_weights_config_when_built_then_everything_learns(name: str) -> None:
    """Nothing is frozen and no batch norm keeps statistics that nobody learned."""
    cfg = load(f"mask-rcnn_r18_small-anchor_{name}")
    init_default_scope("mmdet")
    model = MODELS.build(cfg.model)
    model.train()
    assert all(parameter.requires_grad for parameter in model.parameters())
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(norm.training for norm in norms)
