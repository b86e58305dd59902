"""Set arithmetic on runs equals the same arithmetic on bitmaps."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from cellseg.structures.rle import RLE, crops_to_runs, decode_runs
from cellseg.structures.runs import (
    Crop,
    Runs,
    concatenate_runs,
    overlap_runs,
    overlap_within,
    paint_runs,
    resolve_overlaps,
    run_areas,
    select_runs,
    shift_runs,
    union_runs,
)

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
@given(st.tuples(*[st.integers(-3, 9)] * 4), st.tuples(*[st.integers(0, 6)] * 4))
def test_window_of_a_crop_always_shows_the_image_there(
    places: tuple[int, int, int, int], sides: tuple[int, int, int, int]
) -> None:
    (x0, y0, x1, y1), (width, height, across, down) = places, sides
    mask = np.random.default_rng(width + 7 * height).random((height, width)) < 0.5
    image = np.zeros((30, 30), dtype=bool)  # begins at -5, -5
    image[y0 + 5 : y0 + 5 + height, x0 + 5 : x0 + 5 + width] = mask
    shown = Crop(mask, x0, y0).window(x1, y1, x1 + across, y1 + down)
    np.testing.assert_array_equal(shown, image[y1 + 5 :, x1 + 5 :][:down, :across])


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


@settings(max_examples=60, deadline=None)
@given(bitmaps())
def test_overlap_within_when_masks_are_random_then_equals_bitmaps(
    masks: NDArray[np.bool_],
) -> None:
    i, j, pixels = overlap_within(decode_runs(encode(masks)))
    expected = np.triu((masks[:, None] & masks[None]).sum(axis=(2, 3)), 1)
    wanted = np.argwhere(expected)
    assert np.stack((i, j), axis=1).tolist() == wanted.tolist()
    assert pixels.tolist() == expected[tuple(wanted.T)].tolist()


@settings(max_examples=40, deadline=None)
@given(bitmaps())
def test_union_runs_when_masks_overlap_then_equals_any(masks: NDArray[np.bool_]) -> None:
    union = union_runs(decode_runs(encode(masks)))
    np.testing.assert_array_equal(paint(union, 1)[0], masks.any(axis=0))
    assert (union.starts[1:] > union.ends[:-1]).all()


@settings(max_examples=60, deadline=None)
@given(bitmaps(), st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=5, max_size=5))
def test_paint_runs_when_masks_overlap_then_the_higher_score_wins(
    masks: NDArray[np.bool_], scores: list[float]
) -> None:
    got = paint_runs(decode_runs(encode(masks)), np.array(scores[: len(masks)]), HEIGHT, WIDTH)
    expected = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
    for index in sorted(range(len(masks)), key=lambda i: (scores[i], -i)):
        expected[masks[index]] = index + 1
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, expected)


@settings(max_examples=60, deadline=None)
@given(bitmaps(), st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=5, max_size=5))
def test_resolve_overlaps_when_one_group_then_equals_the_painted_label_map(
    masks: NDArray[np.bool_], scores: list[float]
) -> None:
    given_runs, score = decode_runs(encode(masks)), np.array(scores[: len(masks)])
    label_map = paint_runs(given_runs, score, HEIGHT, WIDTH)
    runs = resolve_overlaps(given_runs, score, np.zeros(len(masks), dtype=np.int64))
    expected = label_map == np.arange(1, len(masks) + 1)[:, None, None]
    np.testing.assert_array_equal(paint(runs, len(masks)), expected)
    assert (np.diff(runs.owners) >= 0).all()


def test_resolve_overlaps_when_groups_differ_then_masks_may_overlap() -> None:
    masks = np.ones((3, HEIGHT, WIDTH), dtype=bool)
    runs = resolve_overlaps(
        decode_runs(encode(masks)), np.array([0.5, 0.9, 0.2]), np.array([0, 0, 1])
    )
    assert run_areas(runs, 3).tolist() == [0, HEIGHT * WIDTH, HEIGHT * WIDTH]


@settings(max_examples=60, deadline=None)
@given(bitmaps(), st.data())
def test_shift_runs_when_moved_anywhere_then_equals_moved_bitmaps(
    masks: NDArray[np.bool_], data: st.DataObject
) -> None:
    x, y = data.draw(st.integers(-10, 10)), data.draw(st.integers(-10, 10))
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    moved = shift_runs(decode_runs(encode(masks)), (x, y), HEIGHT, height, width)
    expected = crops_to_runs(list(masks), [x] * len(masks), [y] * len(masks), height, width)
    for part, wanted in zip(moved, expected, strict=True):
        np.testing.assert_array_equal(part, wanted)


@settings(max_examples=60, deadline=None)
@given(bitmaps(), st.lists(st.integers(0, 4), max_size=6))
def test_select_runs_when_masks_are_picked_in_any_order_then_equals_indexing(
    masks: NDArray[np.bool_], places: list[int]
) -> None:
    places = [place for place in places if place < len(masks)]
    runs = select_runs(decode_runs(encode(masks)), len(masks), places)
    np.testing.assert_array_equal(paint(runs, len(places)), masks[np.array(places, dtype=int)])


@settings(max_examples=30, deadline=None)
@given(bitmaps(), bitmaps())
def test_concatenate_runs_when_groups_are_joined_then_masks_follow_one_another(
    first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> None:
    parts = [decode_runs(encode(masks)) for masks in (first, second)]
    joined = concatenate_runs(parts, [len(first), len(second)])
    both = np.concatenate((first, second))
    np.testing.assert_array_equal(paint(joined, len(both)), both)
    assert not len(concatenate_runs([], []).owners)
