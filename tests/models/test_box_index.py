"""The index finds every overlapping pair, once, and keeps a query's pairs in one block."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from mmdet.structures.bbox import bbox_overlaps

from cellseg.models import box_index
from cellseg.models.box_index import BoxIndex


def draw_boxes(number: int, seed: int, spread: float = 200, largest: float = 60) -> torch.Tensor:
    """Draw (number, 4) boxes of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(number, 2, generator=generator) * spread
    sizes = torch.rand(number, 2, generator=generator) ** 4 * largest + 0.01
    return torch.cat([corners, corners + sizes], dim=1)


def collect_pairs(boxes: torch.Tensor, queries: torch.Tensor) -> list[tuple[int, int]]:
    """List the found pairs in the order found."""
    blocks = [torch.stack(block, dim=1) for block in BoxIndex(boxes).find_pairs(queries)]
    return [tuple(pair) for block in blocks for pair in block.tolist()]


def overlapping_pairs(boxes: torch.Tensor, queries: torch.Tensor) -> set[tuple[int, int]]:
    """List the pairs that overlap, from the full matrix."""
    return set(map(tuple, (bbox_overlaps(queries, boxes) > 0).nonzero().tolist()))


@settings(max_examples=60, deadline=None)
@given(
    number=st.integers(0, 300),
    num_queries=st.integers(0, 30),
    seed=st.integers(0, 10**6),
    budget=st.sampled_from([1, 50, 1 << 18]),
)
def test_find_pairs_when_boxes_are_drawn_then_finds_every_overlap_once(
    number, num_queries, seed, budget
):
    boxes, queries = draw_boxes(number, seed), draw_boxes(num_queries, seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(box_index, "MAX_PAIRS", budget)
        patch.setattr(box_index, "MAX_RUNS", budget)
        pairs = collect_pairs(boxes, queries)
    assert len(pairs) == len(set(pairs))
    assert overlapping_pairs(boxes, queries) <= set(pairs)
    assert [query for query, _ in pairs] == sorted(query for query, _ in pairs)


def test_find_pairs_when_a_block_is_full_then_no_query_is_split(monkeypatch):
    monkeypatch.setattr(box_index, "MAX_PAIRS", 100)
    boxes, queries = draw_boxes(2000, 0), draw_boxes(40, 1)
    blocks = [set(queries.tolist()) for queries, _ in BoxIndex(boxes).find_pairs(queries)]
    assert len(blocks) > 3
    assert sum(map(len, blocks)) == len(set.union(*blocks))


@pytest.mark.parametrize("far", [1e4, 1e7])
def test_find_pairs_when_one_box_is_far_away_then_stays_small_and_right(far):
    boxes = torch.cat([draw_boxes(500, 0), torch.tensor([[far, far, far + 8, far + 8]])])
    queries = torch.cat([draw_boxes(10, 1), boxes[-1:], torch.tensor([[-far, -far, far, far]])])
    assert overlapping_pairs(boxes, queries) <= set(collect_pairs(boxes, queries))
    assert len(BoxIndex(boxes)._starts) < 100_000


def test_find_pairs_when_boxes_have_no_area_then_finds_none():
    boxes = torch.tensor([[5.0, 5, 5, 9], [5, 5, 9, 5], [9, 9, 5, 5]])
    assert collect_pairs(boxes, torch.tensor([[0.0, 0, 20, 20]])) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_find_pairs_when_another_dtype_then_finds_every_overlap(dtype):
    boxes, queries = draw_boxes(300, 2).to(dtype), draw_boxes(30, 3).to(dtype)
    assert overlapping_pairs(boxes, queries) <= set(collect_pairs(boxes, queries))


def test_find_pairs_when_boxes_are_anchors_then_finds_few_that_do_not_overlap():
    shifts = torch.arange(0, 512, 4.0)
    y, x = torch.meshgrid(shifts, shifts, indexing="ij")
    centers = torch.stack([x, y], dim=2).reshape(-1, 2)
    anchors = torch.cat([centers - 8, centers + 8], dim=1)
    queries = torch.tensor([[100.0, 100, 130, 130], [300, 40, 320, 75]])
    found = len(collect_pairs(anchors, queries))
    assert found < 2.5 * len(overlapping_pairs(anchors, queries))
