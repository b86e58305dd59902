"""Sums of feature vectors equal mmcv's RoIAlign, forward and backward."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mmcv.ops import RoIAlign, roi_align

from cellseg.models import roi_align_rows as module
from cellseg.models.roi_align_rows import RowRoIAlign, roi_align_rows

SCALE = 0.25
places = st.floats(-40, 140, width=32)
sizes = st.one_of(st.floats(0, 150, width=32), st.just(0.0), st.just(28.0))
boxes = st.tuples(st.integers(0, 1), places, places, sizes, sizes)


def make_rois(drawn: list[tuple[int, float, float, float, float]]) -> torch.Tensor:
    """Turn image, x, y, width and height into RoIs."""
    rows = [[image, x, y, x + width, y + height] for image, x, y, width, height in drawn]
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)


def align(function, features: torch.Tensor, weights: torch.Tensor):
    """Return a function's values, and the features' gradient of their weighted sum."""
    features = features.clone().requires_grad_()
    values = function(features)
    (values * weights).sum().backward()
    return values.detach(), features.grad


@settings(max_examples=100, deadline=None)
@example([(1, 0.0, 0.0, 28.0, 2.0**-126)], 1, 0)  # too thin to be seen after scaling
@given(st.lists(boxes, max_size=8), st.sampled_from([1, 2, 7]), st.integers(0, 9))
def test_roi_align_rows_when_rois_lie_anywhere_then_equals_mmcv(drawn, side, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 3, 21, 26, generator=generator)
    rois = make_rois(drawn)
    weights = torch.randn(len(rois), 3, side, side, generator=generator)
    ours, our_grad = align(lambda x: roi_align_rows(x, rois, side, SCALE), features, weights)
    stock, stock_grad = align(
        lambda x: roi_align(x, rois, (side, side), SCALE, 0, "avg", True), features, weights
    )
    torch.testing.assert_close(ours, stock, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(our_grad, stock_grad, rtol=1e-4, atol=2e-5)


def test_roi_align_rows_when_taps_are_many_then_parts_give_the_same(monkeypatch) -> None:
    features = torch.randn(2, 3, 21, 26, generator=torch.Generator().manual_seed(0))
    rois = make_rois([(n % 2, 3.0 * n, 2.0 * n, 40, 9) for n in range(20)])
    whole = roi_align_rows(features, rois, 7, SCALE)
    monkeypatch.setattr(module, "_MAX_TAPS", 500)
    assert torch.equal(roi_align_rows(features, rois, 7, SCALE), whole)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_roi_align_rows_when_features_have_an_order_then_gradients_keep_it(order) -> None:
    features = torch.randn(2, 3, 8, 9).contiguous(memory_format=order).requires_grad_()
    roi_align_rows(features, make_rois([(1, 4, 4, 12, 12)]), 2, SCALE).sum().backward()
    assert features.grad is not None
    assert features.grad.is_contiguous(memory_format=order)


@pytest.mark.parametrize(
    ("samples", "is_trained", "calls"), [(0, True, 1), (2, True, 0), (0, False, 0)]
)
def test_row_roi_align_when_not_training_or_samples_are_fixed_then_it_is_mmcvs(
    monkeypatch, samples, is_trained, calls
) -> None:
    called = []

    def count(*args):
        called.append(args)
        return roi_align_rows(*args)

    monkeypatch.setattr(module, "roi_align_rows", count)
    features = torch.randn(1, 3, 8, 9).requires_grad_(is_trained)
    rois = make_rois([(0, 4, 4, 12, 12)])
    values = RowRoIAlign(2, SCALE, samples)(features, rois)
    torch.testing.assert_close(values, RoIAlign(2, SCALE, samples)(features, rois))
    assert len(called) == calls
