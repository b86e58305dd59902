"""The cropped head predicts what FCNMaskHead predicts, as RLEs."""

import numpy as np
import pytest
import torch
from mmcv.cnn.utils.fuse_conv_bn import fuse_conv_bn
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from pycocotools import mask as mask_api

from cellseg.models.cropped_mask_head import CroppedMaskHead
from cellseg.models.fused_convolutions import FusedConv2d, can_fuse, fuse_activations

CLASSES = 3


def build_head(head_class=CroppedMaskHead, **kwargs):
    """Build a head of little weight."""
    return head_class(
        num_convs=1, in_channels=4, conv_out_channels=4, num_classes=CLASSES, **kwargs
    )


def draw_results(number: int, height: int, width: int, seed: int = 0) -> InstanceData:
    """Draw detections in an image."""
    generator = torch.Generator().manual_seed(seed)
    limits = torch.tensor([width, height], dtype=torch.float32)
    corners = torch.rand(number, 2, generator=generator) * limits
    sizes = torch.rand(number, 2, generator=generator) * 40 + 2
    return InstanceData(
        bboxes=torch.cat([corners, torch.minimum(corners + sizes, limits)], dim=1),
        scores=torch.rand(number, generator=generator),
        labels=torch.randint(0, CLASSES, (number,), generator=generator),
    )


def predict(head, logits, results, meta, threshold=0.5, **kwargs):
    """Run the head's post-processing over images."""
    config = ConfigDict(mask_thr_binary=threshold)
    return head.predict_by_feat(logits, results, meta, config, **kwargs)


def decode(rles) -> np.ndarray:
    """Decode RLEs to (N, H, W) bool."""
    return np.array([mask_api.decode(rle) for rle in rles], dtype=bool)


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("activate_map", [True, False])
@pytest.mark.parametrize("class_agnostic", [True, False])
@pytest.mark.parametrize("threshold", [0, 0.3, 0.5])
def test_predict_when_compared_with_stock_then_pixels_and_boxes_are_equal(
    rescale, activate_map, class_agnostic, threshold
):
    metas = [
        dict(ori_shape=(90, 120), scale_factor=(1.5, 1.25)),
        dict(ori_shape=(101, 77), scale_factor=(0.7, 0.6)),
    ]
    sizes = [np.array(meta["ori_shape"]) * meta["scale_factor"][::-1] for meta in metas]
    generator = torch.Generator().manual_seed(1)
    logits = [
        torch.randn(9, 1 if class_agnostic else CLASSES, 28, 28, generator=generator) for _ in metas
    ]
    logits = [values.sigmoid() if activate_map else values for values in logits]
    both = []
    for head_class in (FCNMaskHead, CroppedMaskHead):
        head = build_head(head_class, class_agnostic=class_agnostic)
        results = [draw_results(9, *size, seed) for seed, size in enumerate(sizes)]
        kwargs = dict(rescale=rescale, activate_map=activate_map, threshold=threshold)
        both.append(predict(head, logits, results, metas, **kwargs))
    for stock, ours in zip(*both, strict=True):
        assert isinstance(ours.masks, list)
        assert np.array_equal(decode(ours.masks), stock.masks.numpy())
        assert torch.equal(ours.bboxes, stock.bboxes)


def test_predict_when_one_image_has_nothing_then_its_masks_are_an_empty_list():
    meta = dict(ori_shape=(90, 120), scale_factor=(1.0, 1.0))
    logits = [torch.zeros(0, CLASSES, 28, 28), torch.ones(2, CLASSES, 28, 28)]
    results = [draw_results(0, 90, 120), draw_results(2, 90, 120)]
    empty, full = predict(build_head(), logits, results, [meta, meta])
    assert empty.masks == []
    assert len(full.masks) == 2


def test_predict_when_results_are_indexed_then_the_rles_follow():
    meta = dict(ori_shape=(90, 120), scale_factor=(1.0, 1.0))
    results = [draw_results(5, 90, 120)]
    (result,) = predict(build_head(), [torch.ones(5, CLASSES, 28, 28)], results, [meta])
    kept = result[torch.tensor([True, False, False, True, False])]
    assert kept.masks == [result.masks[0], result.masks[3]]
    assert len(result[result.scores > 2].masks) == 0


def test_predict_when_a_soft_mask_is_asked_for_then_names_the_setting():
    with pytest.raises(ValueError, match="mask_thr_binary"):
        predict(build_head(), [], [], [], threshold=-1)


def test_predict_when_probabilities_come_as_an_array_then_equals_the_tensor():
    meta = [dict(ori_shape=(90, 120), scale_factor=(1.0, 1.0))]
    probabilities = torch.rand(4, CLASSES, 28, 28)
    from_tensor, from_array = (
        predict(build_head(), [given], [draw_results(4, 90, 120)], meta, activate_map=True)
        for given in (probabilities, probabilities.numpy())
    )
    assert from_tensor[0].masks == from_array[0].masks


def test_forward_under_autocast_then_logits_are_float32():
    head = build_head()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(torch.rand(2, 4, 14, 14))
    assert logits.dtype == torch.float32


def test_build_when_named_in_a_config_then_gives_the_cropped_head():
    config = dict(type="CroppedMaskHead", num_convs=1, in_channels=4, num_classes=CLASSES)
    assert isinstance(MODELS.build(config), CroppedMaskHead)


@pytest.mark.skipif(not can_fuse(), reason="this torch or CPU has no fused kernels")
@pytest.mark.parametrize("norm", [None, dict(type="BN")])
@pytest.mark.parametrize("upsampling", ["deconv", "bilinear"])
def test_head_when_fused_then_logits_stay(norm, upsampling):
    upsample_cfg = dict(type=upsampling, scale_factor=2)
    head = fuse_conv_bn(build_head(norm_cfg=norm, upsample_cfg=upsample_cfg).eval())
    features = torch.randn(5, 4, 14, 14)
    with torch.inference_mode():
        expected = head(features)
        fuse_activations(head)
        values = head(features)
    assert isinstance(head.convs[0], FusedConv2d)
    assert (head._upsampling is not None) == (upsampling == "deconv")
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5)


def test_head_with_batch_norms_then_is_not_fused():
    head = build_head(norm_cfg=dict(type="BN"))
    fuse_activations(head)
    assert not any(isinstance(part, FusedConv2d) for part in head.modules())
