"""Samples of label maps under RoIs, against RoIAlign written plainly in numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg.structures import roi_targets
from cellseg.structures.roi_targets import sample_rois
from tests.ops.reference import plain_roi_align


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    number=st.integers(0, 6),
    out_shape=st.sampled_from([(1, 1), (4, 4), (3, 7)]),
)
def test_sample_when_rois_lie_anywhere_then_equal_to_the_plain_way(
    seed: int, number: int, out_shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    layers = rng.integers(0, 4, (2, 11, 14)).astype(np.int32)
    corners = rng.uniform(-6, 14, (number, 2))
    rois = np.concatenate([corners, corners + rng.uniform(0.2, 12, (number, 2))], axis=1)
    owners, ids = rng.integers(0, 2, number), rng.integers(1, 4, number)
    got = sample_rois(layers, owners, ids, rois, out_shape)
    assert got.shape == (number, *out_shape)
    for index in range(number):
        bitmap = (layers[owners[index]] == ids[index]).astype(np.float64)
        row = np.concatenate([[0.0], rois[index]])[None]
        grad = np.zeros((1, 1, *out_shape))
        asked = bitmap[None, None], row, out_shape, 1.0, 0, True, grad
        expected = plain_roi_align(*asked)[0][0, 0]
        np.testing.assert_allclose(got[index], expected, atol=1e-5)


def test_sample_when_the_cell_fills_the_roi_then_one_and_outside_of_the_image_zero() -> None:
    layers = np.ones((1, 20, 20), np.int32)
    rois = np.array([[2, 2, 12, 9], [40, 40, 60, 60], [3, 3, 3, 9], [9, 3, 2, 8]], np.float32)
    zeros, ones = np.zeros(4, int), np.ones(4, int)
    got = sample_rois(layers, zeros, ones, rois, (5, 5))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[0], 1, rtol=1e-6)
    assert not got[1:].any()
    assert not sample_rois(layers, zeros, 2 * ones, rois, (5, 5)).any()


def test_sample_when_there_are_many_rois_then_blocks_change_nothing(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    layers = rng.integers(0, 3, (1, 30, 30)).astype(np.int32)
    corners = rng.uniform(0, 20, (50, 2))
    rois = np.concatenate([corners, corners + rng.uniform(1, 9, (50, 2))], axis=1)
    asked = layers, np.zeros(50, int), np.ones(50, int), rois, (4, 4)
    at_once = sample_rois(*asked)
    monkeypatch.setattr(roi_targets, "ROIS_AT_ONCE", 7)
    np.testing.assert_array_equal(sample_rois(*asked), at_once)


def test_sample_when_a_roi_is_not_finite_then_refused() -> None:
    layers, one = np.ones((1, 4, 4), np.int32), np.ones(1, int)
    with pytest.raises(ValueError, match="not finite"):
        sample_rois(layers, one - 1, one, np.array([[0, 0, np.inf, 2]]), (2, 2))
