"""Fused convolutions give what the convolution and its activation give one after the other."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from cellseg.inference.detector import fold_batch_norms
from cellseg.models import EfficientNetLite, fused_convolutions
from cellseg.models.fp32_heads import Fp32RPNHead
from cellseg.models.fused_convolutions import (
    FusedConv2d,
    FusedUpsampling,
    can_fuse,
    fuse_activations,
)

needs_kernels = pytest.mark.skipif(not can_fuse(), reason="this torch or CPU has no fused kernels")


@needs_kernels
@pytest.mark.parametrize(
    ("convolution", "shape"),
    [
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), (2, 3, 9, 12)),
        (nn.Conv2d(16, 16, 5, padding=2, groups=16, bias=False), (1, 16, 7, 8)),
        (nn.Conv2d(8, 24, 1), (1, 8, 1, 1)),
    ],
)
@pytest.mark.parametrize("activation", ["none", "relu", "hardtanh"])
def test_fused_when_given_features_then_equals_the_plain_way(convolution, shape, activation):
    plain = {"none": lambda x: x, "relu": functional.relu, "hardtanh": functional.relu6}[activation]
    features = torch.randn(shape) * 9
    with torch.inference_mode():
        expected = plain(convolution(features))
        fused = FusedConv2d(convolution, activation)
        for given in (features, features.contiguous(memory_format=torch.channels_last)):
            torch.testing.assert_close(fused(given), expected, rtol=1e-5, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize(("kernel", "padding"), [(3, (0, 1)), (5, (1, 2))])
@pytest.mark.parametrize("size", [(8, 10), (7, 9)])
def test_fused_when_padded_unevenly_then_equals_padding_before(kernel, padding, size):
    convolution = nn.Conv2d(16, 16, kernel, stride=2, groups=16)
    features = torch.randn(1, 16, *size)
    with torch.inference_mode():
        expected = convolution(functional.pad(features, padding * 2))
        values = FusedConv2d(convolution, padding=padding)(features)
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize("number", [0, 3, 70])
@pytest.mark.parametrize(("factor", "classes"), [(2, 1), (3, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_upsampling_when_fused_then_equals_the_layers(number, factor, classes, bias):
    upsample = nn.ConvTranspose2d(8, 4, factor, stride=factor, bias=bias)
    last = nn.Conv2d(4, classes, 1)
    features = torch.randn(number, 8, 5, 7)
    with torch.inference_mode():
        expected = last(upsample(features).relu())
        fused = FusedUpsampling(upsample, last)
        for given in (features, features.contiguous(memory_format=torch.channels_last)):
            torch.testing.assert_close(fused(given), expected, rtol=1e-5, atol=1e-5)
    assert FusedUpsampling.can_replace(upsample, last)


@pytest.mark.parametrize(
    "upsample",
    [
        nn.ConvTranspose2d(8, 4, 3, stride=2),
        nn.ConvTranspose2d(8, 4, 2, stride=2, padding=1),
        nn.ConvTranspose2d(8, 4, 2, stride=2, groups=2),
        nn.Upsample(scale_factor=2),
        None,
    ],
)
def test_upsampling_when_its_kernels_overlap_then_is_not_replaced(upsample):
    assert not FusedUpsampling.can_replace(upsample, nn.Conv2d(4, 1, 1))
    plain = nn.ConvTranspose2d(8, 4, 2, stride=2)
    assert not FusedUpsampling.can_replace(plain, nn.Conv2d(4, 1, 3))


@pytest.mark.skipif(not can_fuse(torch.bfloat16), reason="no fused kernels of bfloat16")
def test_fused_under_autocast_then_computes_in_its_type():
    convolution = nn.Conv2d(16, 16, 3, padding=1)
    features = torch.randn(1, 16, 8, 8)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = convolution(features).relu()
        values = FusedConv2d(convolution, "relu")(features)
    assert values.dtype == torch.bfloat16
    torch.testing.assert_close(values, expected, rtol=0.02, atol=0.02)


def test_kernels_when_torch_lacks_them_then_are_not_used(monkeypatch):
    class Missing:
        def __getattr__(self, name):
            raise AttributeError(name)

    monkeypatch.setattr(fused_convolutions.torch.ops, "mkldnn", Missing(), raising=False)
    assert not can_fuse()


def test_kernels_when_the_processor_is_no_x86_then_are_not_used(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NEON")
    assert not can_fuse()


@needs_kernels
@pytest.mark.parametrize("arch", ["lite0", "lite1"])
def test_lite_network_when_fused_then_features_stay(arch):
    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = EfficientNetLite(arch)

        def extract_feat(self, images):
            return self.backbone(images)

    torch.manual_seed(0)
    folded = fold_batch_norms(Detector())
    fused = copy.deepcopy(folded)
    fuse_activations(fused)
    assert not any(isinstance(part, nn.Conv2d) for part in fused.modules())
    images = torch.randn(1, 3, 64, 96) * 3
    with torch.inference_mode():
        for values, expected in zip(
            fused.extract_feat(images), folded.extract_feat(images), strict=True
        ):
            scale = expected.abs().max()
            torch.testing.assert_close(values / scale, expected / scale, rtol=1e-4, atol=1e-5)


def test_lite_network_with_batch_norms_then_is_left_alone():
    backbone = EfficientNetLite(out_indices=(1,))
    fuse_activations(backbone)
    assert not any(isinstance(part, FusedConv2d) for part in backbone.modules())


@needs_kernels
def test_rpn_when_fused_then_scores_and_deltas_stay():
    anchors = dict(type="AnchorGenerator", strides=[4], base_sizes=[16], ratios=[1.0], scales=[1.0])
    head = Fp32RPNHead(in_channels=8, feat_channels=8, anchor_generator=anchors).eval()
    features = torch.randn(1, 8, 6, 7)
    with torch.inference_mode():
        expected = head((features,))
        fuse_activations(head)
        values = head((features,))
    assert isinstance(head.rpn_conv, FusedConv2d)
    for ours, theirs in zip(values, expected, strict=True):
        torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-5)
