"""NMS equals its plain form in numpy, index for index."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cellseg.ops import nms
from cellseg.ops.nms import rank
from tests.ops.reference import plain_nms

THRESHOLDS = [-0.1, 0.0, 0.05, 0.3, 0.5, 0.7, 0.95, 1.0]

places = st.one_of(st.floats(0, 60, width=32), st.integers(0, 12).map(lambda n: 5.0 * n))
sizes = st.one_of(st.floats(0, 40, width=32), st.sampled_from([0.0, 10.0, 2.0**-126, 500.0]))
rectangles = st.lists(st.tuples(places, places, sizes, sizes), max_size=25)
Rectangles = list[tuple[float, float, float, float]]


def draw_cells(number: int, seed: int = 0, size_px: float = 200.0) -> tuple[torch.Tensor, ...]:
    """Draw boxes that lie around cells, some 12 each, and scores without ties."""
    generator = np.random.default_rng(seed)
    cells = generator.uniform(0, size_px, (max(number // 12, 1), 4))
    own = cells[generator.integers(0, len(cells), number)]
    centers = own[:, :2] + generator.normal(0, 3, (number, 2))
    sides = (14 + own[:, 2:] / 8) * np.exp(generator.normal(0, 0.3, (number, 2)))
    corners = np.concatenate([centers - sides / 2, centers + sides / 2], axis=1)
    return torch.from_numpy(corners).float(), torch.from_numpy(generator.permutation(number) / 1.0)


def to_boxes(drawn: Rectangles) -> torch.Tensor:
    """Turn x, y, width, height into corners (N, 4)."""
    rows = [[x, y, x + width, y + height] for x, y, width, height in drawn]
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def compare(drawn: torch.Tensor, scores: torch.Tensor, threshold: float, offset: int) -> None:
    expected = plain_nms(drawn.numpy(), scores.numpy(), threshold, offset)
    assert nms(drawn, scores, threshold, offset).tolist() == expected


@settings(max_examples=200, deadline=None)
@example([(0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 5.0)], 0, 0.5, 0)  # IoU at the threshold
@given(rectangles, st.integers(0, 9), st.sampled_from(THRESHOLDS), st.sampled_from([0, 1]))
def test_nms_when_boxes_lie_anywhere_then_equals_plain(drawn, seed, threshold, offset) -> None:
    scores = torch.from_numpy(np.random.default_rng(seed).integers(0, 6, len(drawn)) / 8)  # tied
    compare(to_boxes(drawn), scores, threshold, offset)


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


@pytest.mark.parametrize("spread_px", [0.0, 0.3, 3.0])
def test_nms_when_all_boxes_lie_at_one_place_then_equals_plain(spread_px) -> None:
    drawn, scores = draw_cells(300)
    drawn = torch.tensor([5.0, 5, 25, 25]) + spread_px * drawn / 50
    compare(drawn, scores, 0.7, 0)


def test_nms_when_an_iou_is_at_the_threshold_then_keeps_both() -> None:
    drawn = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 5.1]])
    assert nms(drawn, torch.tensor([3.0, 2, 1]), 0.5).tolist() == [0, 1]


def test_nms_when_scores_tie_then_takes_boxes_in_their_order() -> None:
    drawn = torch.tensor([[20.0, 20, 30, 30], [0, 0, 10, 10], [0, 0, 10, 9]]).repeat(60, 1)
    assert nms(drawn, torch.ones(180), 0.5).tolist() == [0, 1]


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, float("inf"), float("-inf"), 0.3])))
def test_rank_when_scores_tie_or_are_negative_then_equals_a_stable_sort(values) -> None:
    scores = torch.tensor(values, dtype=torch.float32)
    expected = scores.sort(descending=True, stable=True)[1]
    assert rank(scores.numpy()).tolist() == expected.tolist()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("number", [3, 300])
def test_nms_when_a_box_is_not_finite_then_it_stays_and_drops_none(bad, number) -> None:
    drawn = torch.tensor([[0.0, 0, bad, 10], [0, 0, 10, 10], [0, 0, 10, 9]])
    drawn = torch.cat([drawn, torch.tensor([[0.0, 0, 10, 10]]).repeat(number - 3, 1)])
    assert nms(drawn, -torch.arange(number) / 1.0, 0.5).tolist() == [0, 1]


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
    for offset in (0, 1):
        kept = nms(drawn.to(device), scores.to(device), 0.5, offset)
        assert kept.device.type == device
        assert torch.equal(kept.cpu(), nms(drawn, scores, 0.5, offset))
