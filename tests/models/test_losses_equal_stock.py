"""One training step's losses are those of MMDetection's own parts, on many batches.

Stock is the config with stock parts swapped in, fed with stock BitmapMasks. Both sides have the
same weights and memory order, and draw their samples from the same seed.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from dense.scenes import DrawnScene
from dense.stock import to_stock
from dense.workloads_data import prepare_pipeline
from frame import CONFIGS
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from cellseg.datasets.synthetic import write_sample
from cellseg.models import roi_align_rows

NUM_BATCHES = 20
SIZE_PX = 160
REAL_SIZE_PX = 256
REAL_CORNERS = [[(0, 0), (0, 768)], [(256, 0), (512, 0)]]  # y, x of the crops of each batch


def build_both(size_px: int) -> tuple[Any, Any]:
    """Build both sides with one set of weights: stock, ours."""
    init_default_scope("mmdet")
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIGS / "mask-rcnn_r18_small-anchor_demo.py").model
    cfg.data_preprocessor.batch_augments[0].size = (size_px, size_px)
    ours = MODELS.build(cfg)
    ours.init_weights()
    stock = MODELS.build(to_stock(cfg))
    stock.load_state_dict(ours.state_dict())
    return stock.train(), ours.train()


@pytest.fixture(scope="module")
def models() -> tuple[Any, Any]:
    return build_both(SIZE_PX)


@pytest.fixture
def aligned(monkeypatch) -> list[int]:
    """Collect how many RoIs each call of our own RoIAlign gets."""
    counts = []

    def count(features, rois, *rest):
        counts.append(len(rois))
        return align(features, rois, *rest)

    align = roi_align_rows.roi_align
    monkeypatch.setattr(roi_align_rows, "roi_align", count)
    return counts


def compute_losses(model: Any, batch: dict[str, Any]) -> dict[str, float]:
    """Run one forward pass of training from a fixed seed, with gradients as a training has them."""
    torch.manual_seed(0)
    np.random.seed(0)
    losses = model(**model.data_preprocessor(batch, training=True), mode="loss")
    return {
        key: float(sum(value).detach() if isinstance(value, list) else value.detach())
        for key, value in losses.items()
    }


def compare_losses(models: tuple[Any, Any], scene: DrawnScene, aligned: list[int]) -> None:
    """Compare all losses of a batch of two images."""
    both = []
    for model, side in zip(models, ("stock", "ours"), strict=True):
        batch = pseudo_collate([prepare_pipeline(scene, side, k)() for k in range(scene.images)])
        both.append(compute_losses(model, batch))
        assert bool(sum(aligned)) == (side == "ours")
    stock, ours = both
    assert stock.keys() == ours.keys() >= {"loss_rpn_cls", "loss_rpn_bbox", "loss_mask"}
    assert all(np.isfinite(value) and value > 0 for value in stock.values())
    for key, value in stock.items():
        assert ours[key] == pytest.approx(value, rel=1e-5), key


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=pytest.mark.slow if number % 3 else ())
        for number in range(NUM_BATCHES)
    ],
)
def test_losses_when_parts_are_swapped_for_stock_then_each_is_equal(
    models, aligned, number, tmp_path
):
    scene = DrawnScene(
        cells=10 + 50 * number // (NUM_BATCHES - 1), size_px=SIZE_PX, images=2, folder=tmp_path
    )
    compare_losses(models, scene, aligned)


def write_crops(folder: Path, corners: list[tuple[int, int]], scene: DrawnScene) -> int:
    """Write crops of a real image where a scene's drawn images would lie; count their cells."""
    image = tifffile.imread(folder / "image.tif")[..., :3]
    layers = {int(p.stem[-1]): tifffile.imread(p) for p in sorted(folder.glob("class*.tif"))}
    num_cells = 0
    for number, (y, x) in enumerate(corners):
        window = np.s_[y : y + scene.size_px, x : x + scene.size_px]
        crops = {label: layer[window].astype(np.int32) for label, layer in layers.items()}
        num_cells += sum(len(np.unique(crop)) - 1 for crop in crops.values())
        write_sample(scene.root / f"{number:04d}", image[window], crops)
    return num_cells


def test_losses_when_cells_are_real_and_dense_then_each_is_equal(real_data, aligned, tmp_path):
    models = build_both(REAL_SIZE_PX)
    for number, corners in enumerate(REAL_CORNERS):
        scene = DrawnScene(cells=0, size_px=REAL_SIZE_PX, images=2, folder=tmp_path / str(number))
        assert write_crops(real_data / "hw3/train/hgsc_nest_1500", corners, scene) > 140
        aligned.clear()
        compare_losses(models, scene, aligned)
