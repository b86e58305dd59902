"""What mmcv finds in place of its compiled ops."""

import inspect
import pickle

import pytest
import torch
from mmcv.ops import RoIAlign, batched_nms
from mmcv.ops import nms as mmcv_nms
from mmcv.utils import collect_env

from cellseg.errors import CellsegError
from cellseg.ops import mmcv_ext, roi_align
from tests.ops.reference import plain_nms
from tests.ops.test_nms import draw_cells


def test_ext_when_mmcv_is_not_compiled_then_mmcvs_nms_gives_the_boxes() -> None:
    drawn, scores = draw_cells(200)
    dets, kept = mmcv_nms(drawn, scores.float(), 0.5, score_threshold=10, max_num=30)
    chosen = (scores > 10).nonzero()[:, 0]
    expected = chosen[plain_nms(drawn[chosen].numpy(), scores[chosen].numpy(), 0.5, 0)][:30]
    assert torch.equal(kept, expected)
    assert torch.equal(dets[:, :4], drawn[expected])


def test_ext_when_boxes_have_classes_then_mmcvs_batched_nms_keeps_them_apart() -> None:
    drawn, scores = draw_cells(200)
    classes = torch.arange(200) % 3
    _, kept = batched_nms(drawn, scores.float(), classes, dict(type="nms", iou_threshold=0.5))
    expected = []
    for label in range(3):
        own = (classes == label).nonzero()[:, 0]
        expected += own[plain_nms(drawn[own].numpy(), scores[own].numpy(), 0.5, 0)].tolist()
    assert sorted(kept.tolist()) == sorted(expected)


@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_ext_when_mmcvs_roi_align_is_called_then_values_and_gradients_are_ours(
    samples, aligned
) -> None:
    features = torch.randn(2, 3, 21, 26, generator=torch.Generator().manual_seed(0))
    features.requires_grad_()
    rois = torch.tensor([[0, 4.0, 4, 30, 22], [1, 50, 40, 80, 60]])
    theirs = RoIAlign((7, 5), 0.25, samples, aligned=aligned)(features, rois)
    ours = roi_align(features, rois, (7, 5), 0.25, samples, aligned)
    assert torch.equal(theirs, ours)
    grads = [torch.autograd.grad(v.square().sum(), features)[0] for v in (theirs, ours)]
    torch.testing.assert_close(*grads)


def test_ext_when_another_op_is_called_then_says_what_it_needs() -> None:
    with pytest.raises(CellsegError, match=r"op deform_conv_forward needs a compiled mmcv; see"):
        mmcv_ext.deform_conv_forward(1, groups=2)


def test_ext_when_roi_align_takes_the_maximum_then_says_what_it_needs() -> None:
    with pytest.raises(CellsegError, match="pool_mode='max' needs a compiled mmcv"):
        RoIAlign(2, pool_mode="max")(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5))


def test_ext_when_inspected_or_pickled_then_is_an_ordinary_module() -> None:
    assert not hasattr(mmcv_ext, "__wrapped__")
    assert not hasattr(mmcv_ext, "_repr_html_")
    assert inspect.getmodule(mmcv_ext.nms) is mmcv_ext
    assert pickle.loads(pickle.dumps(mmcv_ext.nms)) is mmcv_ext.nms


def test_ext_when_mmcv_lists_the_environment_then_answers() -> None:
    assert "MMCV Compiler" in collect_env()
