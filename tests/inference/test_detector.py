"""Detectors built from a config and a checkpoint."""

import numpy as np
import pytest
import torch

from cellseg.errors import CellsegError
from cellseg.inference.detector import (
    DetectionLimits,
    build_detector,
    find_device,
    fold_batch_norms,
)
from tests.inference.small_mask_rcnn import small_mask_rcnn


def test_detector_when_built_from_a_checkpoint_then_has_its_weights_and_fetches_none(tmp_path):
    cfg = small_mask_rcnn()
    cfg.model.backbone.init_cfg = dict(type="Pretrained", checkpoint="torchvision://none")
    torch.manual_seed(0)
    first = build_detector(cfg, None)
    weights = {f"module.{name}": value for name, value in first.state_dict().items()}
    torch.save({"state_dict": weights}, tmp_path / "parallel.pth")
    second = build_detector(cfg, tmp_path / "parallel.pth")
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert cfg.model.backbone.init_cfg is not None  # the config itself stays


@pytest.mark.parametrize("factor", [0.1, 1.0, 2.5])
def test_limits_when_scaled_twice_then_from_the_config_each_time(factor):
    model = build_detector(small_mask_rcnn(), None)
    limits = DetectionLimits(model)
    limits.scale(7.0)
    limits.scale(factor)
    assert model.rpn_head.test_cfg["nms_pre"] == max(int(np.ceil(50 * factor)), 1)
    assert model.roi_head.test_cfg["max_per_img"] == max(int(np.ceil(10 * factor)), 1)


def test_limits_when_more_than_fits_into_the_input_then_only_that_or_the_configs_own() -> None:
    model = build_detector(small_mask_rcnn(), None)
    limits = DetectionLimits(model)
    limits.scale(1e9, most=20.0)
    assert model.rpn_head.test_cfg["nms_pre"] == 50  # as the config says
    assert model.roi_head.test_cfg["max_per_img"] == 20


def test_limits_when_a_score_is_dropped_below_then_never_under_the_configs_own():
    model = build_detector(small_mask_rcnn(), None)
    own = model.roi_head.test_cfg["score_thr"]
    limits = DetectionLimits(model)
    limits.drop_below(0.7)
    assert model.roi_head.test_cfg["score_thr"] < np.float32(0.7)
    assert model.roi_head.test_cfg["score_thr"] == pytest.approx(0.7)
    limits.drop_below(0.0)
    assert model.roi_head.test_cfg["score_thr"] == own


def test_device_when_none_is_named_then_one_that_works():
    assert find_device(None).type in ("cpu", "cuda")
    assert find_device("cpu") == torch.device("cpu")
    with pytest.raises(CellsegError, match="The device tpu9 cannot be used"):
        find_device("tpu9")


def test_batch_norms_are_folded_and_change_nothing():
    cfg = small_mask_rcnn()
    torch.manual_seed(0)
    model = build_detector(cfg, None).eval()
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.uniform_(-0.2, 0.2)
            part.running_var.uniform_(0.5, 1.5)
    folded = fold_batch_norms(model)
    image = torch.randn(2, 3, 96, 128)

    with torch.no_grad():
        for one, other in zip(folded.extract_feat(image), model.extract_feat(image), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    norms = [part for part in folded.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert norms == []


def test_batch_norms_that_run_before_their_convolution_are_not_folded():
    class NormFirst(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)
            self.norm = torch.nn.BatchNorm2d(3)
            self.norm.running_mean.fill_(0.5)

        def extract_feat(self, images):
            return (self.conv(self.norm(images)),)

    model = NormFirst()
    assert fold_batch_norms(model) is model
