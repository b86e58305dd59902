"""Masks are the same in both forms, however they came in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from cellseg.structures import cell_masks
from cellseg.structures.cell_masks import CellMasks
from cellseg.structures.rle import encode_columns, encode_crop, measure_rles
from cellseg.structures.runs import Crop


@given(
    masks=st.lists(
        hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)), max_size=4
    ),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_crops_when_masks_are_any_then_equal_decoding_one_by_one(masks, height, width, data):
    places = [(data.draw(st.integers(-3, 9)), data.draw(st.integers(-3, 9))) for _ in masks]
    rles = [encode_crop(mask, *xy, height, width) for mask, xy in zip(masks, places, strict=True)]
    from_rles = CellMasks(height, width, rles=rles)
    crops = [Crop(mask, *xy) for mask, xy in zip(masks, places, strict=True)]
    from_crops = CellMasks.from_crops(crops, height, width)
    assert from_crops.rles == rles
    for held in (from_rles, from_crops):
        for crop, coded in zip(held.crops(), rles, strict=True):
            x0, y0, w, h = coco_mask.toBbox(coded).astype(int)
            assert (crop.x0, crop.y0) == (x0, y0)
            full = coco_mask.decode(coded)
            np.testing.assert_array_equal(crop.mask, full[y0 : y0 + h, x0 : x0 + w])
        pixels, boxes = held.draw_columns()
        assert encode_columns(pixels, boxes, height, width) == rles


def test_crops_when_masks_fill_several_blocks_then_each_is_its_own(monkeypatch):
    monkeypatch.setattr(cell_masks, "BLOCK_MASKS", 2)
    rles = [encode_crop(np.ones((n, n + 1), bool), n, 2 * n, 20, 30) for n in range(1, 6)]
    masks = CellMasks(20, 30, rles=rles)
    assert [(crop.mask.shape, crop.x0, crop.y0) for crop in masks.crops()] == [
        ((n, n + 1), n, 2 * n) for n in range(1, 6)
    ]
    for measured, expected in zip(masks.measure(), measure_rles(rles), strict=True):
        np.testing.assert_array_equal(measured, expected)


def test_rles_when_given_or_made_then_the_same_list_each_time():
    rles = [encode_crop(np.ones((2, 2), bool), 1, 1, 5, 6)]
    masks = CellMasks(5, 6, rles=rles)
    assert masks.rles[0] is rles[0]
    made = CellMasks(5, 6, runs=masks.runs, num_masks=1)
    assert made.rles == rles
    assert made.rles is made.rles
    assert masks.runs is masks.runs


@pytest.mark.parametrize("places", [[2, 0], [], [1, 1]])
def test_getitem_when_both_forms_and_measures_are_there_then_all_are_taken(places):
    rles = [encode_crop(np.ones((n, 2), bool), n, n, 9, 9) for n in range(1, 4)]
    masks = CellMasks(9, 9, rles=rles)
    lazy = masks[np.array(places, dtype=int)]
    boxes, areas = masks.measure()
    taken = masks[np.array(places, dtype=int)]
    for one in (lazy, taken):
        assert one.rles == [rles[place] for place in places]
        assert one.measure()[0].tolist() == boxes[places].tolist()
        assert one.measure()[1].tolist() == areas[places].tolist()
        assert CellMasks(9, 9, runs=one.runs, num_masks=len(places)).rles == one.rles


def test_concatenate_when_forms_differ_then_all_masks_are_there():
    rles = [encode_crop(np.ones((n, 2), bool), n, n, 9, 9) for n in range(1, 4)]
    texts = CellMasks(9, 9, rles=rles[:2])
    runs = CellMasks(9, 9, runs=CellMasks(9, 9, rles=rles[2:]).runs, num_masks=1)
    empty = CellMasks(9, 9, rles=[])
    assert CellMasks.concatenate([empty, texts, runs, empty]).rles == rles
    assert CellMasks.concatenate([empty, runs]).rles == rles[2:]
    assert len(CellMasks.concatenate([empty])) == 0


def test_runs_when_a_mask_has_another_size_then_says_so():
    masks = CellMasks(9, 8, rles=[encode_crop(np.ones((2, 2), bool), 0, 0, 9, 9)])
    with pytest.raises(ValueError, match=r"Mask 0 has size \(9, 9\)"):
        masks.measure()


def test_masks_when_neither_form_is_given_then_says_so():
    with pytest.raises(ValueError, match="RLEs, or as runs"):
        CellMasks(9, 8)
