import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellseg.inference.cells import Cells, cells_from_arrays, decode_columns, decode_crops
from cellseg.structures import rle
from cellseg.structures.rle import decode_crop, encode_columns, encode_crop


@given(
    masks=st.lists(
        hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)), max_size=4
    ),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_decode_crops_of_any_masks_equals_decoding_one_by_one(masks, height, width, data):
    rles = [
        encode_crop(
            mask, data.draw(st.integers(-3, 9)), data.draw(st.integers(-3, 9)), height, width
        )
        for mask in masks
    ]
    for crop, coded in zip(decode_crops(rles), rles, strict=True):
        mask, x0, y0 = decode_crop(coded)
        assert (crop.x0, crop.y0) == (x0, y0)
        np.testing.assert_array_equal(crop.mask, mask)
    pixels, boxes = decode_columns(rles)
    assert encode_columns(pixels, boxes, height, width) == rles


def test_decode_crops_when_masks_fill_several_blocks_then_gives_each_its_own(monkeypatch):
    monkeypatch.setattr(rle, "BLOCK_MASKS", 2)
    rles = [encode_crop(np.ones((n, n + 1), bool), n, 2 * n, 20, 30) for n in range(1, 6)]
    crops = decode_crops(rles)
    assert [(crop.mask.shape, crop.x0, crop.y0) for crop in crops] == [
        ((n, n + 1), n, 2 * n) for n in range(1, 6)
    ]
    boxes, areas = rle.measure_rles(rles)
    assert areas.tolist() == [n * (n + 1) for n in range(1, 6)]
    assert boxes.tolist() == [[n, 2 * n, 2 * n + 1, 3 * n] for n in range(1, 6)]


def test_placed_when_moved_into_a_larger_image_keeps_pixels(make_cells):
    label_map = np.zeros((20, 30), dtype=int)
    label_map[2:8, 3:9], label_map[10:19, 12:25] = 1, 5
    moved = make_cells(label_map).placed(7, 11, 60, 70)
    expected = np.zeros((60, 70), dtype=int)
    expected[11:31, 7:37] = np.where(label_map == 5, 2, label_map)
    np.testing.assert_array_equal(moved.label_map(), expected)
    np.testing.assert_array_equal(moved.boxes[0], [10, 13, 16, 19])


def test_placed_when_partly_outside_cuts_cells_and_drops_those_wholly_outside(make_cells):
    label_map = np.zeros((20, 20), dtype=int)
    label_map[0:4, 0:4], label_map[8:14, 8:14] = 1, 2
    moved = make_cells(label_map).placed(-10, -10, 20, 20)
    assert len(moved) == 1
    assert moved.measure()[1].tolist() == [16]


def test_cells_of_unequal_parts_are_refused():
    with pytest.raises(ValueError, match="one box, score, label and mask each"):
        Cells(np.zeros((1, 4)), np.zeros(2), np.zeros(1), [], 5, 5, ("a",))


def test_empty_cells_can_do_everything(make_cells):
    cells = Cells.empty(7, 9, ("a",))
    assert len(cells) == 0
    assert cells.label_map().shape == (7, 9)
    assert cells.crops() == []
    assert len(cells.placed(1, 1, 20, 20)) == 0
    assert len(cells[cells.scores > 0.5]) == 0
    assert len(Cells.concatenate([cells, cells])) == 0


def test_concatenate_of_different_images_is_refused():
    with pytest.raises(ValueError, match="one image size"):
        Cells.concatenate([Cells.empty(7, 9, ("a",)), Cells.empty(9, 7, ("a",))])


@pytest.mark.parametrize("index", [[2, 0], slice(0, 3, 2), np.array([True, False, True])])
def test_selecting_cells_takes_all_their_parts(make_cells, index):
    label_map = np.zeros((9, 9), dtype=int)
    label_map[0, 0], label_map[4, 4], label_map[8, 8] = 1, 2, 3
    cells = make_cells(label_map)
    chosen = cells[index]
    places = np.arange(3)[index]
    np.testing.assert_array_equal(chosen.boxes, cells.boxes[places])
    assert chosen.rles == [cells.rles[place] for place in places]
    assert chosen.classes == [cells.classes[place] for place in places]


def test_cells_from_arrays_when_a_crop_lies_outside_drops_it():
    like = Cells.empty(10, 10, ("a", "b"))
    inside = decode_crops([encode_crop(np.ones((3, 2), bool), 4, 5, 10, 10)])[0]
    outside = inside._replace(x0=50)
    cells = cells_from_arrays([outside, inside], [0.9, 0.8], [0, 1], like)
    assert cells.classes == ["b"]
    np.testing.assert_array_equal(cells.boxes, [[4, 5, 6, 8]])
