"""NMS equals its plain form in numpy, index for index."""

import importlib

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cellseg.ops import nms
from tests.ops.reference import plain_nms

module = importlib.import_module("cellseg.ops.nms")
THRESHOLDS = [-0.1, 0.0, 0.05, 0.3, 0.5, 0.7, 0.95, 1.0]

places = st.one_of(st.floats(0, 60, width=32), st.integers(0, 12).map(lambda n: 5.0 * n))
sizes = st.one_of(st.floats(0, 40, width=32), st.sampled_from([0.0, 10.0, 2.0**-126, 500.0]))
boxes = st.lists(st.tuples(places, places, sizes, sizes), max_size=25)


def draw_cells(number: int, seed: int = 0, size_px: float = 200.0) -> tuple[torch.Tensor, ...]:
    """Draw boxes that lie around cells, some 12 each, and scores without ties."""
    generator = np.random.default_rng(seed)
    cells = generator.uniform(0, size_px, (max(number // 12, 1), 4))
    own = cells[generator.integers(0, len(cells), number)]
    centers = own[:, :2] + generator.normal(0, 3, (number, 2))
    sides = (14 + own[:, 2:] / 8) * np.exp(generator.normal(0, 0.3, (number, 2)))
    corners = np.concatenate([centers - sides / 2, centers + sides / 2], axis=1)
    return torch.from_numpy(corners).float(), torch.from_numpy(generator.permutation(number) / 1.0)


def compare(drawn: torch.Tensor, scores: torch.Tensor, threshold: float, offset: int) -> None:
    expected = plain_nms(drawn.numpy(), scores.numpy(), threshold, offset)
    assert nms(drawn, scores, threshold, offset).tolist() == expected


@settings(max_examples=200, deadline=None)
@example([(0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 5.0)], 0, 0.5, 0)  # IoU at the threshold
@example([(0.0, 0.0, 2.0**-126, 10.0), (0.0, 0.0, 2.0**-126, 9.0)], 0, 0.5, 0)  # areas underflow
@given(boxes, st.integers(0, 9), st.sampled_from(THRESHOLDS), st.sampled_from([0, 1]))
def test_nms_when_boxes_lie_anywhere_then_equals_plain(drawn, seed, threshold, offset) -> None:
    rows = [[x, y, x + width, y + height] for x, y, width, height in drawn]
    corners = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
    scores = torch.from_numpy(np.random.default_rng(seed).integers(0, 6, len(rows)) / 8)  # tied
    compare(corners, scores, threshold, offset)


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("offset", [0, 1])
def test_nms_when_cells_are_dense_then_equals_plain(threshold, offset) -> None:
    compare(*draw_cells(400), threshold, offset)


def test_nms_when_classes_lie_far_apart_then_equals_plain() -> None:
    drawn, scores = draw_cells(300)
    shifts = torch.arange(300)[:, None] % 5 * 1e5
    compare(drawn + shifts, scores, 0.5, 0)


def test_nms_when_one_box_is_huge_then_equals_plain() -> None:
    drawn, scores = draw_cells(300)
    drawn[7] = torch.tensor([-1e7, -1e7, 1e7, 1e7])
    compare(drawn, scores, 0.3, 0)


@pytest.mark.parametrize("spread_px", [0.0, 0.3])
def test_nms_when_all_boxes_lie_at_one_place_then_equals_plain(monkeypatch, spread_px) -> None:
    monkeypatch.setattr(module, "_PAIRS_PER_BOX", 4)  # as with thousands of boxes
    drawn, scores = draw_cells(300)
    drawn = torch.tensor([5.0, 5, 25, 25]) + spread_px * drawn / 10
    compare(drawn, scores, 0.7, 0)


def test_nms_when_pairs_are_many_then_chunks_give_the_same(monkeypatch) -> None:
    drawn, scores = draw_cells(400)
    whole = nms(drawn, scores, 0.7)
    monkeypatch.setattr(module, "_CHUNK", 50)
    assert torch.equal(nms(drawn, scores, 0.7), whole)


def test_nms_when_an_iou_is_at_the_threshold_then_keeps_both() -> None:
    drawn = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 5.1]])
    assert nms(drawn, torch.tensor([3.0, 2, 1]), 0.5).tolist() == [0, 1]


def test_nms_when_scores_tie_then_takes_boxes_in_their_order() -> None:
    drawn = torch.tensor([[20.0, 20, 30, 30], [0, 0, 10, 10], [0, 0, 10, 9]]).repeat(20, 1)
    assert nms(drawn, torch.ones(60), 0.5).tolist() == [0, 1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nms_when_a_box_is_not_finite_then_it_stays_and_drops_none(bad) -> None:
    drawn = torch.tensor([[0.0, 0, bad, 10], [0, 0, 10, 10], [0, 0, 10, 9]])
    assert nms(drawn, torch.tensor([3.0, 2, 1]), 0.5).tolist() == [0, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_nms_when_boxes_are_of_half_precision_then_equals_the_same_in_float32(dtype) -> None:
    drawn, scores = draw_cells(200)
    half = drawn.to(dtype)
    assert torch.equal(nms(half, scores.to(dtype), 0.5), nms(half.float(), scores.to(dtype), 0.5))


def test_nms_when_there_are_no_boxes_then_keeps_none() -> None:
    kept = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert kept.dtype == torch.int64
    assert len(kept) == 0


def test_nms_when_on_a_device_then_equals_the_cpu(device) -> None:
    drawn, scores = draw_cells(400)
    kept = nms(drawn.to(device), scores.to(device), 0.5)
    assert kept.device.type == device
    assert torch.equal(kept.cpu(), nms(drawn, scores, 0.5))
