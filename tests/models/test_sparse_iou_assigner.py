"""The sparse assigner gives MaxIoUAssigner's result, bit for bit."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.config import Config
from mmengine.structures import InstanceData

from cellseg.models import box_index, sparse_iou_assigner
from cellseg.models.sparse_iou_assigner import SparseMaxIoUAssigner
from cellseg.structures.rle import encode_label_map

CONFIG_DIR = Path(__file__).resolve().parents[2] / "configs" / "cell"
RPN = dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, match_low_quality=True)


def draw_boxes(number: int, seed: int, extent: int = 12, degenerate: bool = False):
    """Draw (number, 4) boxes with whole coordinates, so that equal overlaps abound."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, extent, (number, 2), generator=generator)
    least = -1 if degenerate else 1
    sizes = torch.randint(least, extent // 2, (number, 2), generator=generator)
    return torch.cat([corners, corners + sizes], dim=1).float()


def assign_both(
    priors, gt_boxes, ignore_boxes=None, labels=None, assigner=None, device="cpu", **settings_
):
    """Assign with the stock and the sparse assigner and compare."""
    labels = torch.arange(len(gt_boxes)) % 4 if labels is None else labels
    priors, gt_boxes, labels = (given.to(device) for given in (priors, gt_boxes, labels))
    ignore_boxes = None if ignore_boxes is None else ignore_boxes.to(device)
    instances = InstanceData(bboxes=gt_boxes, labels=labels)
    regions = None if ignore_boxes is None else InstanceData(bboxes=ignore_boxes)
    stock = MaxIoUAssigner(**settings_).assign(InstanceData(priors=priors), instances, regions)
    assigner = assigner or SparseMaxIoUAssigner(**settings_)
    sparse = assigner.assign(InstanceData(priors=priors), instances, regions)
    assert sparse.num_gts == stock.num_gts
    for name in ("gt_inds", "max_overlaps", "labels"):
        ours, theirs = getattr(sparse, name), getattr(stock, name)
        assert ours.dtype == theirs.dtype, name
        assert torch.equal(ours.nan_to_num(-9), theirs.nan_to_num(-9)), name
    return sparse


settings_of_an_assigner = st.fixed_dictionaries(
    dict(
        pos_iou_thr=st.sampled_from([0.0, 1 / 3, 0.5, 0.7]),
        neg_iou_thr=st.sampled_from([0.3, 0.5, (0.0, 0.3), (0.1, 0.5), (-1.0, 0.4), 0]),
        min_pos_iou=st.sampled_from([-1.0, 0.0, 0.2, 1 / 3, 0.5]),
        gt_max_assign_all=st.booleans(),
        match_low_quality=st.booleans(),
        ignore_iof_thr=st.sampled_from([-1, 0.3, 0.5]),
        ignore_wrt_candidates=st.booleans(),
    )
)


@settings(max_examples=250, deadline=None)
@given(
    num_priors=st.integers(0, 60),
    num_gts=st.integers(0, 12),
    num_regions=st.integers(0, 4),
    extent=st.sampled_from([4, 12, 60]),
    degenerate=st.booleans(),
    seed=st.integers(0, 10**6),
    budget=st.sampled_from([1, 40, 1 << 18]),
    settings_=settings_of_an_assigner,
)
def test_assign_when_boxes_are_drawn_then_equals_stock(
    device, num_priors, num_gts, num_regions, extent, degenerate, seed, budget, settings_
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(box_index, "MAX_PAIRS", budget)
        patch.setattr(box_index, "MAX_RUNS", budget)
        assign_both(
            draw_boxes(num_priors, seed, extent, degenerate),
            draw_boxes(num_gts, seed + 1, extent, degenerate),
            draw_boxes(num_regions if num_gts else 0, seed + 2, extent, degenerate),
            device=device,
            **settings_,
        )


@settings(max_examples=30, deadline=None)
@given(num_gts=st.integers(1, 60), seed=st.integers(0, 10**6), dtype=st.sampled_from([32, 64, 16]))
def test_assign_when_priors_are_anchors_then_equals_stock(device, num_gts, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(num_gts, 2, generator=generator) * 120
    sizes = torch.rand(num_gts, 2, generator=generator) * 40 + 1
    gt_boxes = torch.cat([corners, corners + sizes], dim=1)
    priors = make_anchors()
    dtype = {32: torch.float32, 64: torch.float64, 16: torch.float16}[dtype]
    boxes = (priors.to(dtype), gt_boxes.to(dtype), gt_boxes[:1].to(dtype) + 30)
    assign_both(*boxes, device=device, **RPN)


def make_anchors() -> torch.Tensor:
    """Lay the anchors of a 128 x 128 image."""
    anchors = AnchorGenerator(
        strides=[4, 8, 16], base_sizes=[16, 32, 48], ratios=[0.25, 0.5, 1, 2, 4], scales=[1.0]
    )
    return torch.cat(anchors.grid_priors([(32, 32), (16, 16), (8, 8)], device="cpu"))


def test_assign_when_two_cells_tie_for_a_prior_then_the_first_gets_it():
    gt_boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    settings_ = dict(pos_iou_thr=0.5, neg_iou_thr=0.3, match_low_quality=False)
    result = assign_both(torch.tensor([[0.0, 0, 10, 8]]), gt_boxes, **settings_)
    assert result.gt_inds.tolist() == [1]


def test_assign_when_two_cells_claim_a_prior_as_best_then_the_last_gets_it():
    gt_boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    result = assign_both(torch.tensor([[0.0, 0, 10, 8]]), gt_boxes, **RPN)
    assert result.gt_inds.tolist() == [2]


@pytest.mark.parametrize("assign_all", [True, False])
def test_assign_when_min_pos_iou_is_zero_then_an_unmatched_cell_claims_priors(assign_all):
    priors = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]])
    gt_boxes = torch.tensor([[80.0, 80, 90, 90], [20, 0, 30, 9], [60, 60, 70, 70], [40, 0, 50, 9]])
    settings_ = dict(RPN, min_pos_iou=0.0, gt_max_assign_all=assign_all)
    result = assign_both(priors, gt_boxes, **settings_)
    assert result.gt_inds.tolist() == [3, 3 if assign_all else 2, 4]


@pytest.mark.parametrize("min_pos_iou", [-1.0, 0.0, 0.3])
@pytest.mark.parametrize("assign_all", [True, False])
def test_assign_when_every_prior_is_ignored_then_equals_stock(min_pos_iou, assign_all):
    region = torch.tensor([[-10.0, -10, 100, 100]])
    settings_ = dict(RPN, min_pos_iou=min_pos_iou, gt_max_assign_all=assign_all, ignore_iof_thr=0.5)
    assign_both(draw_boxes(20, 0), draw_boxes(5, 1), region, **settings_)


@pytest.mark.parametrize("wrt_candidates", [True, False])
def test_assign_when_a_prior_lies_in_an_ignore_region_then_it_gets_nothing(wrt_candidates):
    priors = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    region = torch.tensor([[0.0, 0, 12, 12]])
    settings_ = dict(RPN, ignore_iof_thr=0.5, ignore_wrt_candidates=wrt_candidates)
    result = assign_both(priors, torch.tensor([[50.0, 50, 60, 60]]), region, **settings_)
    assert result.gt_inds.tolist() == [-1, 1]


def test_assign_when_boxes_are_box_objects_or_carry_scores_then_equals_stock():
    priors = torch.cat([draw_boxes(30, 0), torch.rand(30, 1)], dim=1)
    assign_both(priors, draw_boxes(6, 1), **RPN)
    assign_both(HorizontalBoxes(draw_boxes(30, 0)), HorizontalBoxes(draw_boxes(6, 1)), **RPN)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_assign_when_a_box_is_not_finite_then_equals_stock(bad):
    priors, gt_boxes = draw_boxes(30, 0), draw_boxes(6, 1)
    priors[3, 2] = bad
    assign_both(priors, gt_boxes, **RPN)
    gt_boxes[2, 0] = bad
    assign_both(draw_boxes(30, 0), gt_boxes, **RPN)


def test_assign_when_priors_come_again_then_reuses_their_index(monkeypatch):
    monkeypatch.setattr(sparse_iou_assigner, "_MIN_CACHED_PRIORS", 1)
    assigner = SparseMaxIoUAssigner(**RPN)
    priors = make_anchors()
    assign_both(priors, draw_boxes(6, 1, 100), assigner=assigner, **RPN)
    index = assigner._cached_index
    assign_both(priors.clone(), draw_boxes(9, 2, 100), assigner=assigner, **RPN)
    assert assigner._cached_index is index


def test_assign_when_the_same_tensor_changed_in_place_then_equals_stock(monkeypatch):
    monkeypatch.setattr(sparse_iou_assigner, "_MIN_CACHED_PRIORS", 1)
    assigner = SparseMaxIoUAssigner(**RPN)
    priors, gt_boxes = make_anchors(), draw_boxes(6, 1, 100)
    assign_both(priors, gt_boxes, assigner=assigner, **RPN)
    priors += 3
    assign_both(priors, gt_boxes, assigner=assigner, **RPN)


def test_assign_when_there_are_many_priors_then_looks_at_few_pairs(monkeypatch):
    seen = []
    overlapping_pairs = sparse_iou_assigner._overlapping_pairs

    def count(gt_boxes, priors, gt_inds, *rest):
        seen.append(len(gt_inds))
        return overlapping_pairs(gt_boxes, priors, gt_inds, *rest)

    monkeypatch.setattr(sparse_iou_assigner, "_overlapping_pairs", count)
    priors, gt_boxes = make_anchors(), draw_boxes(50, 1, 100) % 128
    gt_boxes[:, 2:] = gt_boxes[:, :2] + 8
    assign_both(priors, gt_boxes, **RPN)
    assert sum(seen) < 0.2 * len(priors) * len(gt_boxes)


def test_build_when_named_in_a_config_then_gives_the_sparse_assigner():
    assigner = TASK_UTILS.build(dict(type="SparseMaxIoUAssigner", **RPN))
    assert isinstance(assigner, SparseMaxIoUAssigner)


@pytest.mark.parametrize(
    "unsupported",
    [
        dict(perm_repeat_gt_cfg=dict(iou_thr=0.7)),
        dict(iou_calculator=dict(type="BboxOverlaps2D", dtype="fp16", scale=512.0)),
    ],
)
def test_build_when_a_setting_is_unsupported_then_names_the_way_out(unsupported):
    with pytest.raises(ValueError, match="use MaxIoUAssigner"):
        SparseMaxIoUAssigner(**RPN, **unsupported)


def test_assign_when_the_image_is_real_and_dense_then_equals_stock(real_data, device):
    gt_boxes = read_real_boxes(real_data / "hw3/train/hgsc_nest_1500")
    assert len(gt_boxes) == 1294
    anchors = AnchorGenerator(strides=[32], base_sizes=[32], ratios=[0.25, 0.5, 1, 2], scales=[1.0])
    priors = anchors.grid_priors([(47, 47)], device="cpu")[0]
    regions = gt_boxes[:40]
    result = assign_both(priors, gt_boxes, regions, ignore_iof_thr=0.5, device=device, **RPN)
    assert (result.gt_inds > 0).sum() > 300


def test_assign_when_anchors_are_the_configs_and_cells_real_then_equals_stock(real_data, device):
    size_px = 320  # stock holds 68,000 anchors x 120 cells
    boxes = read_real_boxes(real_data / "hw3/train/hgsc_nest_1500", np.s_[:size_px, :size_px])
    assert len(boxes) > 100
    model = Config.fromfile(CONFIG_DIR / "mask-rcnn_r101_small-anchor.py").model
    anchors = TASK_UTILS.build(model.rpn_head.anchor_generator)
    assert (anchors.num_levels, anchors.num_base_priors) == (5, [8] * 5)
    sides = [size_px // stride for stride, _ in anchors.strides]
    priors = torch.cat(anchors.grid_priors([(side, side) for side in sides], device="cpu"))
    chosen = dict(model.train_cfg.rpn.assigner)
    assert chosen.pop("type") == "SparseMaxIoUAssigner"
    result = assign_both(priors, boxes[10:], boxes[:10], device=device, **chosen)
    assert len(result.gt_inds[result.gt_inds > 0].unique()) > 60


def read_real_boxes(folder, window=np.s_[:, :]) -> torch.Tensor:
    """Read the boxes (N, 4) of the cells of an image's class files, or of a window of it."""
    boxes = [
        encode_label_map(tifffile.imread(path)[window].astype(np.int64))[1]
        for path in sorted(folder.glob("class*.tif"))
    ]
    return torch.from_numpy(np.concatenate(boxes)).float()


def test_assign_when_there_is_no_cell_then_ignore_regions_are_no_background():
    priors = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    assigner = SparseMaxIoUAssigner(**RPN, ignore_iof_thr=0.5)
    result = assigner.assign(
        InstanceData(priors=priors),
        InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)),
        InstanceData(bboxes=torch.tensor([[40.0, 40, 99, 99]])),
    )
    assert result.gt_inds.tolist() == [0, -1]
