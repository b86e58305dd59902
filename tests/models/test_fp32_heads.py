"""Boxes stay float32 under bfloat16 autocast, from anchors to detections."""

import pytest
import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from cellseg.models.fp32_heads import (
    Fp32RPNHead,
    Fp32Shared2FCBBoxHead,
    Fp32Shared4Conv1FCBBoxHead,
)
from cellseg.models.fused_convolutions import fuse_activations

META = dict(img_shape=(64, 1280), pad_shape=(64, 1280), scale_factor=(1.0, 1.0))
PROPOSALS = ConfigDict(
    nms_pre=400, max_per_img=400, nms=dict(type="nms", iou_threshold=0.9), min_bbox_size=0
)


def build_rpn(head_class):
    """Build an RPN that predicts its own anchors: the weights of its box layer are 0."""
    head = head_class(
        in_channels=4,
        feat_channels=4,
        anchor_generator=dict(
            type="AnchorGenerator", strides=[4], base_sizes=[18.4], ratios=[1.0], scales=[1.0]
        ),
        test_cfg=PROPOSALS,
        train_cfg=ConfigDict(
            assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.7, neg_iou_thr=0.3),
            sampler=dict(type="RandomSampler", num=64, pos_fraction=0.5, add_gt_as_proposals=False),
            allowed_border=-1,
            pos_weight=-1,
        ),
    )
    torch.nn.init.zeros_(head.rpn_reg.weight)
    torch.nn.init.zeros_(head.rpn_reg.bias)
    return head


def build_box_head(head_class):
    """Build a small box head."""
    return head_class(in_channels=4, fc_out_channels=8, num_classes=3, roi_feat_size=7)


def test_rpn_under_autocast_then_proposals_are_the_anchors_to_the_last_bit():
    head = build_rpn(Fp32RPNHead).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = head((torch.randn(1, 4, 16, 320),))
        (proposals,) = head.predict_by_feat(*outputs, batch_img_metas=[META])
    anchors = head.prior_generator.grid_priors([(16, 320)], device="cpu")[0]
    anchors[:, 0::2].clamp_(0, 1280)
    anchors[:, 1::2].clamp_(0, 64)
    assert proposals.bboxes.dtype == proposals.scores.dtype == torch.float32
    distances = torch.cdist(proposals.bboxes, anchors, p=float("inf")).min(dim=1).values
    assert distances.max() < 1e-3
    assert proposals.bboxes[:, 0].max() > 1024


def test_rpn_when_stock_under_autocast_then_proposals_move():
    head = build_rpn(RPNHead).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = head((torch.randn(1, 4, 16, 320),))
    assert outputs[0][0].dtype == torch.bfloat16
    anchors = head.prior_generator.grid_priors([(16, 320)], dtype=torch.bfloat16, device="cpu")[0]
    exact = head.prior_generator.grid_priors([(16, 320)], device="cpu")[0]
    assert (anchors.float() - exact).abs().max() >= 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rpn_loss_under_autocast_then_is_float32(dtype):
    head = build_rpn(Fp32RPNHead)
    boxes = torch.tensor([[1000.3, 10, 1020, 30], [40, 20, 60, 38]])
    instances = [InstanceData(bboxes=boxes, labels=torch.zeros(2, dtype=torch.long))]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        outputs = head((torch.randn(1, 4, 16, 320),))
        losses = head.loss_by_feat(*outputs, instances, [META])
    values = [value for parts in losses.values() for value in parts]
    assert all(value.dtype == torch.float32 for value in values)
    sum(values).backward()
    assert head.rpn_reg.weight.grad.any()


@pytest.mark.parametrize("kind", [Fp32Shared2FCBBoxHead, Fp32Shared4Conv1FCBBoxHead])
def test_box_head_under_autocast_then_boxes_are_float32(kind):
    head = build_box_head(kind).eval()
    rois = torch.tensor([[0, 1017.2, 20, 1037.7, 41.3]])
    torch.nn.init.zeros_(head.fc_reg.weight)
    torch.nn.init.zeros_(head.fc_reg.bias)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        scores, deltas = head(torch.randn(1, 4, 7, 7))
        (result,) = head.predict_by_feat((rois,), (scores,), (deltas,), [META])
    assert scores.dtype == deltas.dtype == result.bboxes.dtype == torch.float32
    assert torch.allclose(result.bboxes[0, :4], rois[0, 1:], atol=1e-3)


@pytest.mark.parametrize(
    ("ours", "stock", "build", "inputs"),
    [
        (Fp32RPNHead, RPNHead, build_rpn, ((torch.ones(1, 4, 16, 32),),)),
        (Fp32Shared2FCBBoxHead, Shared2FCBBoxHead, build_box_head, (torch.ones(2, 4, 7, 7),)),
        (
            Fp32Shared4Conv1FCBBoxHead,
            Shared4Conv1FCBBoxHead,
            build_box_head,
            (torch.ones(2, 4, 7, 7),),
        ),
    ],
)
def test_forward_without_autocast_then_equals_stock(ours, stock, build, inputs):
    ours, stock = build(ours), build(stock)
    ours.load_state_dict(stock.state_dict())
    for our_part, stock_part in zip(ours(*inputs), stock(*inputs), strict=True):
        assert type(our_part) is type(stock_part)
        assert torch.equal(torch.stack(list(our_part)), torch.stack(list(stock_part)))


@pytest.mark.parametrize("levels", [[(9, 16)], [(9, 16), (4, 8), (1, 1)]])
@pytest.mark.parametrize("nms_pre", [-1, 1, 2, 40, 144, 1000])
@pytest.mark.parametrize("steps", [3, 10**6])
def test_proposals_when_only_the_best_are_sorted_then_equal_stock(
    levels, nms_pre, steps, monkeypatch
):
    # Stock leaves the order of equal scores open; ours is that of the anchors, as in a stable sort.
    sort = torch.Tensor.sort
    monkeypatch.setattr(
        torch.Tensor,
        "sort",
        lambda self, descending: sort(self, descending=descending, stable=True),
    )
    ours, stock = build_rpn(Fp32RPNHead), build_rpn(RPNHead)
    for head in (ours.eval(), stock.eval()):
        strides = [4, 8, 16][: len(levels)]
        head.prior_generator = TASK_UTILS.build(
            dict(
                type="AnchorGenerator",
                strides=strides,
                base_sizes=[18] * len(strides),
                ratios=[0.5, 1.0],
                scales=[1.0],
            )
        )
    generator = torch.Generator().manual_seed(0)
    scores = [torch.randint(0, steps, (1, 2, *level), generator=generator) / 3 for level in levels]
    deltas = [torch.randn(1, 8, *level, generator=generator) for level in levels]
    cfg = ConfigDict({**PROPOSALS, "nms_pre": nms_pre})
    results = [
        head.predict_by_feat(scores, deltas, batch_img_metas=[META], cfg=cfg)[0]
        for head in (ours, stock)
    ]
    assert torch.equal(results[0].bboxes, results[1].bboxes)
    assert torch.equal(results[0].scores, results[1].scores)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_box_head_when_it_goes_by_pixel_then_predictions_stay(order):
    head = build_box_head(Fp32Shared2FCBBoxHead).eval()
    features = torch.randn(3, 4, 7, 7).contiguous(memory_format=order)
    with torch.inference_mode():
        expected = head(features)
        for _ in range(2):  # a second time changes nothing
            fuse_activations(head)
            values = head(features)
            for ours, theirs in zip(values, expected, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["Fp32RPNHead", "Fp32Shared2FCBBoxHead", "Fp32Shared4Conv1FCBBoxHead"]
)
def test_build_when_named_in_a_config_then_is_known(name):
    assert MODELS.get(name).__module__ == "cellseg.models.fp32_heads"
