"""Set arithmetic on runs equals the same arithmetic on bitmaps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from cellseg.evaluation.runs import (
    hand_out_pixels,
    overlap_runs,
    run_areas,
    runs_of_sized,
    union_runs,
)
from cellseg.structures.rle import RLE, Runs, decode_runs, rles_to_label_map

HEIGHT, WIDTH = 7, 9


def encode(masks: NDArray[np.bool_]) -> list[RLE]:
    """Encode (N, H, W) bool by pycocotools."""
    rles = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    return [RLE(size=list(rle["size"]), counts=rle["counts"].decode()) for rle in rles]


def paint(runs: Runs, num_masks: int) -> NDArray[np.bool_]:
    """Paint runs as (N, H, W) bool, one position at a time."""
    columns = np.zeros((num_masks, WIDTH * HEIGHT), dtype=bool)
    for owner, start, end in zip(*runs, strict=True):
        columns[owner, start:end] = True
    return columns.reshape(num_masks, WIDTH, HEIGHT).transpose(0, 2, 1)


@st.composite
def bitmaps(draw: st.DrawFn) -> NDArray[np.bool_]:
    """Draw up to five masks of any overlap, some of them empty or full."""
    count = draw(st.integers(0, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    return rng.random((count, HEIGHT, WIDTH)) < share


@settings(max_examples=60, deadline=None)
@given(bitmaps(), bitmaps())
def test_overlap_runs_when_masks_are_random_then_equals_bitmaps(
    first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> None:
    one, two = decode_runs(encode(first)), decode_runs(encode(second))
    shared = np.zeros((len(first), len(second)), dtype=int)
    i, j, pixels = overlap_runs(one, two)
    shared[i, j] = pixels
    expected = (first[:, None] & second[None]).sum(axis=(2, 3))
    np.testing.assert_array_equal(shared, expected)
    assert len(i) == np.count_nonzero(expected)
    np.testing.assert_array_equal(run_areas(one, len(first)), first.sum(axis=(1, 2)))


@settings(max_examples=40, deadline=None)
@given(bitmaps())
def test_union_runs_when_masks_overlap_then_equals_any(masks: NDArray[np.bool_]) -> None:
    union = union_runs(decode_runs(encode(masks)))
    np.testing.assert_array_equal(paint(union, 1)[0], masks.any(axis=0))
    assert (union.starts[1:] > union.ends[:-1]).all()


@settings(max_examples=60, deadline=None)
@given(bitmaps(), st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=5, max_size=5))
def test_hand_out_pixels_when_one_group_then_equals_the_painted_label_map(
    masks: NDArray[np.bool_], scores: list[float]
) -> None:
    rles, score = encode(masks), np.array(scores[: len(masks)])
    label_map = rles_to_label_map(rles, score, shape=(HEIGHT, WIDTH))
    runs = hand_out_pixels(decode_runs(rles), score, np.zeros(len(masks), dtype=np.int64))
    expected = label_map == np.arange(1, len(masks) + 1)[:, None, None]
    np.testing.assert_array_equal(paint(runs, len(masks)), expected)
    assert (np.diff(runs.owners) >= 0).all()


def test_hand_out_pixels_when_groups_differ_then_masks_may_overlap() -> None:
    masks = np.ones((3, HEIGHT, WIDTH), dtype=bool)
    runs = hand_out_pixels(
        decode_runs(encode(masks)), np.array([0.5, 0.9, 0.2]), np.array([0, 0, 1])
    )
    assert run_areas(runs, 3).tolist() == [0, HEIGHT * WIDTH, HEIGHT * WIDTH]


def test_runs_of_sized_when_a_mask_has_another_size_then_says_so() -> None:
    rles = encode(np.zeros((2, HEIGHT, WIDTH), dtype=bool))
    with pytest.raises(ValueError, match="Mask 0 has size"):
        runs_of_sized(rles, (HEIGHT + 1, WIDTH))
