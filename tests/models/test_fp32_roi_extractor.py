"""RoIs stay exact whatever the features' type and memory order."""

import pytest
import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS

from cellseg.models.fp32_roi_extractor import Fp32SingleRoIExtractor
from cellseg.models.roi_align_rows import RowRoIAlign

SETTINGS = dict(
    roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=0),
    out_channels=3,
    featmap_strides=[4, 8],
    finest_scale=16,
)


def draw_features(seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Draw two levels of features of a 64 x 1280 image pair."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, 3, 64 // s, 1280 // s, generator=generator) for s in (4, 8))


def draw_rois(number: int = 12) -> torch.Tensor:
    """Draw RoIs of all sizes over both images."""
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(number, 2, generator=generator) * torch.tensor([1200.0, 40])
    sizes = torch.rand(number, 2, generator=generator) * 60 + 2
    return torch.cat([torch.arange(number)[:, None] % 2, corners, corners + sizes], dim=1)


@pytest.mark.parametrize("number", [0, 1, 12])
@pytest.mark.parametrize("scale_factor", [None, 1.3])
def test_extract_when_features_are_float32_then_equals_stock(device, number, scale_factor):
    feats = tuple(level.to(device) for level in draw_features())
    rois = draw_rois(number).to(device)
    stock = SingleRoIExtractor(**SETTINGS)(feats, rois, scale_factor)
    extractor = Fp32SingleRoIExtractor(**SETTINGS)
    assert torch.equal(extractor(feats, rois, scale_factor), stock)
    trained = tuple(level.requires_grad_() for level in feats)
    ours = extractor(trained, rois, scale_factor)
    torch.testing.assert_close(ours, stock, rtol=1e-5, atol=1e-6)


def test_extract_when_features_are_bfloat16_then_rois_keep_their_place(device):
    ramp = torch.arange(320.0).expand(1, 3, 16, 320) * 4 + 2  # each feature is its own x in pixels
    feats = (ramp.to(torch.bfloat16) * 0 + ramp.remainder(128).to(torch.bfloat16), ramp[..., ::2])
    feats = (feats[0], feats[1].to(torch.bfloat16))
    feats = tuple(level.to(device) for level in feats)
    rois = torch.tensor([[0, 1017.2, 20, 1021.2, 24]], device=device)
    with torch.autocast(device, dtype=torch.bfloat16):
        values = Fp32SingleRoIExtractor(**SETTINGS)(feats, rois)
    assert values.dtype == torch.float32
    center = values.mean().item()  # 1019.2 in pixels, of which the remainder by 128 is 123.2
    assert center == pytest.approx(1019.2 - 896, abs=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extract_when_features_are_channels_last_then_equals_contiguous(device, dtype):
    extractor = Fp32SingleRoIExtractor(**SETTINGS)
    feats = tuple(level.to(device, dtype) for level in draw_features())
    rois = draw_rois().to(device)
    channels_last = tuple(level.contiguous(memory_format=torch.channels_last) for level in feats)
    assert torch.equal(extractor(channels_last, rois), extractor(feats, rois))


def test_extract_when_features_are_bfloat16_then_gradients_reach_them():
    feats = tuple(level.to(torch.bfloat16).requires_grad_() for level in draw_features())
    Fp32SingleRoIExtractor(**SETTINGS)(feats, draw_rois()).sum().backward()
    assert all(level.grad.dtype == torch.bfloat16 and level.grad.any() for level in feats)


def test_extract_without_gradients_equals_the_way_with_them(device):
    extractor = Fp32SingleRoIExtractor(**SETTINGS)
    feats = tuple(level.to(device) for level in draw_features())
    rois = draw_rois().to(device)
    expected = extractor(feats, rois, 1.3)
    for shown in (rois, rois[:1], rois[:0]):
        for layout in (torch.contiguous_format, torch.channels_last):
            with torch.inference_mode():
                values = extractor([f.contiguous(memory_format=layout) for f in feats], shown, 1.3)
            torch.testing.assert_close(values, expected[: len(shown)], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("has_gradients", [True, False])
def test_extract_when_features_are_float32_then_makes_no_copy(monkeypatch, has_gradients):
    seen = []
    forward = RowRoIAlign.forward

    def watch(self, features, rois):
        seen.append(features.data_ptr())
        return forward(self, features, rois)

    monkeypatch.setattr(RowRoIAlign, "forward", watch)
    feats = draw_features()
    with torch.set_grad_enabled(has_gradients):
        Fp32SingleRoIExtractor(**SETTINGS)(feats, draw_rois())
    assert seen == [level.data_ptr() for level in feats]


def test_build_when_named_in_a_config_then_gives_the_extractor():
    extractor = MODELS.build(dict(type="Fp32SingleRoIExtractor", **SETTINGS))
    assert isinstance(extractor, Fp32SingleRoIExtractor)
