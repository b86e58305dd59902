"""RoIAlign equals its plain form in numpy, forward and backward."""

import importlib

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cellseg.ops import roi_align
from tests.ops.reference import plain_roi_align

module = importlib.import_module("cellseg.ops.roi_align")
SCALE = 0.25
places = st.floats(-40, 140, width=32)
sizes = st.one_of(st.floats(0, 150, width=32), st.just(0.0), st.just(28.0))
boxes = st.lists(st.tuples(st.integers(0, 1), places, places, sizes, sizes), max_size=8)


def make_rois(drawn: list[tuple[int, float, float, float, float]]) -> torch.Tensor:
    """Turn image, x, y, width and height into RoIs."""
    rows = [[image, x, y, x + width, y + height] for image, x, y, width, height in drawn]
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)


def draw_features(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, 21, 26, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=150, deadline=None)
@example([(1, 0.0, 0.0, 28.0, 2.0**-126)], (1, 1), 0, True, 0)  # too thin to be seen when scaled
@given(
    boxes,
    st.sampled_from([(1, 1), (2, 2), (7, 7), (3, 5)]),
    st.sampled_from([0, 1, 2, 3]),
    st.booleans(),
    st.integers(0, 9),
)
def test_roi_align_when_rois_lie_anywhere_then_equals_plain(
    drawn, size, samples, aligned, seed
) -> None:
    features, rois = draw_features(seed).requires_grad_(), make_rois(drawn)
    weights = torch.randn(len(rois), 3, *size, generator=torch.Generator().manual_seed(seed))
    values = roi_align(features, rois, size, SCALE, samples, aligned)
    (values * weights).sum().backward()
    arrays = (features.detach().numpy(), rois.numpy())
    expected, grad = plain_roi_align(*arrays, size, SCALE, samples, aligned, weights.numpy())
    np.testing.assert_allclose(values.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    assert features.grad is not None
    np.testing.assert_allclose(features.grad.numpy(), grad, rtol=1e-4, atol=2e-5)


def test_roi_align_when_taps_are_many_then_parts_give_the_same(monkeypatch) -> None:
    features = draw_features().requires_grad_()
    rois = make_rois([(n % 2, 3.0 * n, 2.0 * n, 40, 9) for n in range(20)])
    whole = roi_align(features, rois, (7, 7), SCALE)
    (grad,) = torch.autograd.grad(whole.square().sum(), features)
    monkeypatch.setattr(module, "_MAX_TAPS_FORWARD", 500)
    monkeypatch.setattr(module, "_MAX_TAPS_BACKWARD", 500)
    parts = roi_align(features, rois, (7, 7), SCALE)
    assert torch.equal(parts, whole)
    torch.testing.assert_close(torch.autograd.grad(parts.square().sum(), features)[0], grad)


@pytest.mark.parametrize(("samples", "aligned"), [(0, True), (2, True), (0, False)])
def test_roi_align_when_differentiated_then_gradients_are_those_of_its_values(
    samples, aligned
) -> None:
    features = torch.randn(2, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    rois = make_rois([(0, 1.3, 2.1, 11, 17.5), (1, -6, 4, 25, 9), (1, 20, 20, 60, 60)]).double()
    assert torch.autograd.gradcheck(
        lambda x: roi_align(x, rois, (2, 3), SCALE, samples, aligned), (features,)
    )


@pytest.mark.parametrize("batch", [1, 2])
def test_roi_align_when_features_are_channels_last_then_equals_contiguous(batch) -> None:
    features = draw_features()[:batch]
    rois = make_rois([(batch - 1, 4, 4, 30, 22), (0, 50, 40, 30, 60)])
    last = features.contiguous(memory_format=torch.channels_last)
    values = roi_align(last, rois, (7, 7), SCALE)
    assert torch.equal(values, roi_align(features, rois, (7, 7), SCALE))
    assert values.is_contiguous(memory_format=torch.channels_last)  # as a mask head wants them
    assert roi_align(last.requires_grad_(), rois, (7, 7), SCALE).is_contiguous()


@pytest.mark.parametrize("images", [(0, 1), (1, 1)])
def test_roi_align_when_rois_are_few_then_equals_the_way_of_many(monkeypatch, images) -> None:
    features = torch.randn(3, 4, 40, 50, generator=torch.Generator().manual_seed(0))
    features.requires_grad_()
    rois = make_rois([(image, 30.0 * n, 20, 40, 90) for n, image in enumerate(images)])
    both = []
    for taps_per_bin in (1, 10_000):
        monkeypatch.setattr(module, "_TAPS_PER_BIN", taps_per_bin)
        values = roi_align(features, rois, (7, 7), SCALE)
        both += [(values, torch.autograd.grad(values.square().sum(), features)[0])]
    assert all(torch.equal(few, many) for few, many in zip(*both, strict=True))


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_roi_align_when_features_have_an_order_then_gradients_keep_it(order) -> None:
    features = torch.randn(2, 3, 8, 9).contiguous(memory_format=order).requires_grad_()
    roi_align(features, make_rois([(1, 4, 4, 12, 12)]), (2, 2), SCALE).sum().backward()
    assert features.grad is not None
    assert features.grad.is_contiguous(memory_format=order)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_roi_align_when_features_are_of_half_precision_then_rois_keep_their_place(dtype) -> None:
    features = draw_features().to(dtype).requires_grad_()
    rois = make_rois([(1, 17.2, 4.6, 30.3, 22.1)])  # no such numbers in half precision
    values = roi_align(features, rois, (7, 7), SCALE)
    exact = roi_align(features.detach().float(), rois, (7, 7), SCALE)
    assert values.dtype == dtype
    assert torch.equal(values, exact.to(dtype))
    values.sum().backward()
    assert features.grad is not None
    assert features.grad.dtype == dtype


def test_roi_align_when_there_are_no_rois_then_gradients_are_zero() -> None:
    features = draw_features().requires_grad_()
    values = roi_align(features, torch.zeros(0, 5), (7, 5), SCALE)
    assert values.shape == (0, 3, 7, 5)
    values.sum().backward()
    assert features.grad is not None
    assert not features.grad.any()


def test_roi_align_when_on_a_device_then_equals_the_cpu(device) -> None:
    features = draw_features()
    rois = make_rois([(n % 2, 3.0 * n, 2.0 * n, 40, 9) for n in range(20)])
    values = roi_align(features.to(device), rois.to(device), (7, 7), SCALE)
    torch.testing.assert_close(values.cpu(), roi_align(features, rois, (7, 7), SCALE))
