"""Every config trains on images of any size, with and without cells, in one batch."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from cellseg.datasets.synthetic import write_sample
from cellseg.engine.configs import list_datasets
from cellseg.structures.label_map_masks import LabelMapMasks
from tests.configs.small_models import build_small_model, write_image

CONFIG_DIR = Path(__file__).resolve().parents[2] / "configs" / "cell"
CONFIGS = sorted(CONFIG_DIR.glob("*.py"))
# 33 px and 2500 px stand side by side, and neither tiny nor large ones need hold a cell.
SHAPES = [(33, 33, 2), (33, 20, 0), (1700, 2500, 9), (2500, 1700, 0)]
SMALL_PX = 64
LARGE = ("cascade", "x101", "r101", "r50")
SLOW = pytest.mark.slow  # large heads and backbones take more than a few seconds to build


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write one image of each of SHAPES."""
    root = tmp_path_factory.mktemp("odd")
    for number, shape in enumerate(SHAPES):
        write_image(root / f"{number}", *shape)
    return root


def load_batch(cfg: Config, data_root: Path, indices: list[int]) -> dict[str, Any]:
    """Load images through the config's own training data set, wrappers included."""
    init_default_scope("mmdet")
    list_datasets(cfg)["train"].update(data_root=str(data_root), num_folds=0, cache=False)
    settings = cfg.train_dataloader.dataset
    if "datasets" in settings:  # the first is what the model is for, and has the images now
        settings.datasets = settings.datasets[:1]
    dataset = DATASETS.build(settings)
    random.seed(0)
    np.random.seed(0)
    return pseudo_collate([dataset[index] for index in indices])


def make_empty_batch() -> dict[str, Any]:
    """Make two images without any cell, as PackDetInputs gives them."""
    samples = []
    for number in range(2):
        size = (SMALL_PX, SMALL_PX)
        sample = DetDataSample(
            metainfo=dict(img_id=number, img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
        )
        masks = LabelMapMasks(np.zeros((0, *size), dtype=np.int32), [], [])
        nothing = dict(labels=torch.zeros(0, dtype=torch.int64), masks=masks)
        for key in ("gt_instances", "ignored_instances"):
            setattr(sample, key, InstanceData(bboxes=masks.get_bboxes("hbox"), **nothing))
        samples.append(sample)
    generator = torch.Generator().manual_seed(0)
    shape = (3, SMALL_PX, SMALL_PX)
    images = [torch.randint(0, 256, shape, generator=generator).byte() for _ in samples]
    return {"inputs": images, "data_samples": samples}


def step_backwards(model: Any, batch: dict[str, Any]) -> dict[str, float]:
    """Run forward and backward passes; return the losses, which are finite as all gradients are."""
    torch.manual_seed(0)
    np.random.seed(0)
    total, losses = model.parse_losses(
        model(**model.data_preprocessor(batch, training=True), mode="loss")
    )
    total.backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    values = {name: float(value.detach()) for name, value in losses.items()}
    assert all(map(math.isfinite, values.values())), values
    return values


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_batch_of_33_px_and_2500_px_and_no_cells_when_made_then_one_tensor(
    path: Path, data_root: Path
) -> None:
    cfg = Config.fromfile(path)
    batch = load_batch(cfg, data_root, [0, 1, 2, 3])
    data = MODELS.build(cfg.model.data_preprocessor)(batch, training=True)
    height, width = data["inputs"].shape[-2:]
    assert data["inputs"].shape[:2] == (len(SHAPES), 3)
    assert max(height, width) <= 1024
    for sample in data["data_samples"]:
        masks = sample.gt_instances.masks
        assert (masks.height, masks.width) == (height, width)
    assert len(data["data_samples"][0].gt_instances) == 2
    assert len(data["data_samples"][1].gt_instances) == 0


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, marks=SLOW if any(part in path.stem for part in LARGE) else (), id=path.stem
        )
        for path in CONFIGS
    ],
)
def test_step_when_no_image_of_the_batch_has_a_cell_then_losses_and_gradients_are_finite(
    path: Path,
) -> None:
    torch.manual_seed(0)
    model = build_small_model(Config.fromfile(path).model, SMALL_PX)
    losses = step_backwards(model, make_empty_batch())
    assert losses["loss_rpn_cls"] > 0
    assert {value for name, value in losses.items() if "mask" in name or "bbox" in name} == {0}


@pytest.mark.parametrize("name", ["mask-rcnn_r18_small-anchor", "mask-rcnn_r18_small-anchor_demo"])
def test_step_when_33_px_and_2500_px_are_in_one_batch_then_losses_and_gradients_are_finite(
    name: str, data_root: Path
) -> None:
    cfg = Config.fromfile(CONFIG_DIR / f"{name}.py")
    size_px = 256
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == "Resize":
            step.scale = (size_px, size_px)
    batch = load_batch(cfg, data_root, [0, 2])
    torch.manual_seed(0)
    losses = step_backwards(build_small_model(cfg.model, size_px), batch)
    assert losses["loss_mask"] > 0
    assert losses["loss_rpn_bbox"] > 0


@pytest.mark.parametrize(
    "name",
    ["mask-rcnn_r18_small-anchor", "mask-rcnn_lite0_small-anchor_nuclei-he"],
)
def test_step_when_images_are_2_px_high_or_wide_then_losses_and_gradients_are_finite(
    name: str, tmp_path: Path
) -> None:
    for number, (height, width) in enumerate([(2, 3000), (3000, 2)]):
        layer = np.zeros((height, width), dtype=np.int32)
        layer[:20, :20] = 1
        image = np.full((height, width, 3), 200, dtype=np.uint8)
        image[layer > 0] = (150, 60, 100)
        write_sample(tmp_path / str(number), image, {1: layer})
    cfg = Config.fromfile(CONFIG_DIR / f"{name}.py")
    batch = load_batch(cfg, tmp_path, [0, 1])
    torch.manual_seed(0)
    step_backwards(build_small_model(cfg.model, 256), batch)
