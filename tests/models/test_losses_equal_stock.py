"""One training step's losses are those of MMDetection's own parts, on many batches.

Stock is the config with stock parts swapped in, fed with stock BitmapMasks. Both sides have the
same weights and memory order, and draw their samples from the same seed.
"""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from benchmarks.dense.scenes import Scene
from benchmarks.dense.stock import CONFIGS, to_stock
from benchmarks.dense.works_data import prepare_pipeline

NUM_BATCHES = 20
SIZE_PX = 160
CHANNELS = 128


@pytest.fixture(scope="module")
def models():
    """Build both sides with one set of weights: stock, ours."""
    init_default_scope("mmdet")
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIGS / "mask-rcnn_r18_small-anchor_demo.py").model
    cfg.data_preprocessor.batch_augments[0].size = (SIZE_PX, SIZE_PX)
    ours = MODELS.build(cfg)
    ours.init_weights()
    stock = MODELS.build(to_stock(cfg))
    stock.load_state_dict(ours.state_dict())
    return stock.train(), ours.train()


def compute_losses(model, batch) -> dict[str, float]:
    """Run one forward pass of training from a fixed seed."""
    torch.manual_seed(0)
    np.random.seed(0)
    data = model.data_preprocessor(batch, training=True)
    with torch.no_grad():
        losses = model(**data, mode="loss")
    return {
        key: float(sum(value) if isinstance(value, list) else value)
        for key, value in losses.items()
    }


@pytest.mark.parametrize("number", range(NUM_BATCHES))
def test_losses_when_parts_are_swapped_for_stock_then_each_is_equal(models, number, tmp_path):
    scene = Scene(
        cells=10 + 50 * number // (NUM_BATCHES - 1), size_px=SIZE_PX, images=2, folder=tmp_path
    )
    both = []
    for model, side in zip(models, ("stock", "ours"), strict=True):
        batch = pseudo_collate([prepare_pipeline(scene, side, k)() for k in range(2)])
        both.append(compute_losses(model, batch))
    stock, ours = both
    assert stock.keys() == ours.keys() >= {"loss_rpn_cls", "loss_rpn_bbox", "loss_mask"}
    assert all(np.isfinite(value) and value > 0 for value in stock.values())
    for key, value in stock.items():
        assert ours[key] == pytest.approx(value, rel=1e-5), key
