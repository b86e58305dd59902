import doctest
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from cellseg.structures import cells as cells_module
from cellseg.structures.cell_masks import CellMasks
from cellseg.structures.cells import Cells, to_rles
from cellseg.structures.label_map_masks import LabelMapMasks
from cellseg.structures.rle import encode_crop, encode_label_map
from cellseg.structures.runs import Crop

NAMES = ("a", "b", "c")


@pytest.fixture
def make_cells():
    """Return a function that turns a label map into cells with scores."""

    def make(label_map, **attributes):
        ids = np.unique(label_map[label_map > 0])
        scores = 1 - ids / 100
        return Cells.from_label_map(label_map, ids % 3, NAMES, scores=scores, **attributes)

    return make


def test_docstring_examples_when_run_then_hold():
    outcome = doctest.testmod(cells_module)
    assert outcome.attempted >= 8
    assert not outcome.failed


def test_offset_to_when_moved_into_a_larger_image_keeps_pixels(make_cells):
    label_map = np.zeros((20, 30), dtype=int)
    label_map[2:8, 3:9], label_map[10:19, 12:25] = 1, 5
    moved = make_cells(label_map).offset_to(7, 11, 60, 70)
    expected = np.zeros((60, 70), dtype=int)
    expected[11:31, 7:37] = np.where(label_map == 5, 2, label_map)
    np.testing.assert_array_equal(moved.label_map(), expected)
    np.testing.assert_array_equal(moved.boxes[0], [10, 13, 16, 19])


def test_offset_to_when_partly_outside_cuts_cells_and_drops_those_wholly_outside(make_cells):
    label_map = np.zeros((20, 20), dtype=int)
    label_map[0:4, 0:4], label_map[8:14, 8:14] = 1, 2
    moved = make_cells(label_map).offset_to(-10, -10, 20, 20)
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
    assert len(cells.offset_to(1, 1, 20, 20)) == 0
    assert len(cells[cells.scores > 0.5]) == 0
    assert len(Cells.concatenate([cells, cells])) == 0


def test_concatenate_of_different_images_is_refused():
    with pytest.raises(ValueError, match="one image size"):
        Cells.concatenate([Cells.empty(7, 9, ("a",)), Cells.empty(9, 7, ("a",))])


@pytest.mark.parametrize(
    "index", [[2, 0], [], 1, -1, slice(0, 3, 2), np.array([True, False, True]), [False] * 3]
)
def test_selecting_cells_takes_all_their_parts(make_cells, index):
    label_map = np.zeros((9, 9), dtype=int)
    label_map[0, 0], label_map[4, 4], label_map[8, 8] = 1, 2, 3
    cells = make_cells(label_map, ignored=np.array([False, True, False]))
    chosen = cells[index]
    places = np.arange(3)[index if not isinstance(index, list) else np.array(index or [False] * 3)]
    places = np.atleast_1d(places)
    np.testing.assert_array_equal(chosen.boxes, cells.boxes[places])
    assert chosen.rles == [cells.rles[place] for place in places]
    assert chosen.classes == [cells.classes[place] for place in places]
    assert chosen.is_ignored.tolist() == (places == 1).tolist()
    np.testing.assert_array_equal(chosen.scores, cells.scores[places])
    np.testing.assert_array_equal(chosen.areas, np.ones(len(places)))


def test_from_crops_when_a_crop_lies_outside_drops_it():
    like = Cells.empty(10, 10, ("a", "b"))
    inside = Crop(np.ones((3, 2), bool), 4, 5)
    outside = inside._replace(x0=50)
    cells = Cells.from_crops([outside, inside], [0.9, 0.8], [0, 1], like)
    assert cells.classes == ["b"]
    np.testing.assert_array_equal(cells.boxes, [[4, 5, 6, 8]])


def test_concatenate_when_only_some_parts_have_scores_or_ignored_then_says_what_it_can(make_cells):
    label_map = np.eye(4, dtype=int)
    scored = make_cells(label_map)
    truth = replace(scored, scores=None, ignored=np.ones(1, bool))
    both = Cells.concatenate([scored, truth])
    assert both.scores is None
    assert both.is_ignored.tolist() == [False, True]
    assert np.isinf(both.confidences).all()
    assert Cells.concatenate([scored, replace(scored, masks=None)]).masks is None


def test_scores_when_double_then_kept_and_else_single():
    box = np.zeros((1, 4))
    assert Cells(box, np.array([0.1]), [0], None, 5, 5).scores.dtype == np.float64
    for scores in ([0.1], np.array([0.1], np.float32), np.array([1])):
        assert Cells(box, scores, [0], None, 5, 5).scores.dtype == np.float32


def test_areas_when_there_are_no_masks_then_those_of_the_boxes():
    cells = Cells(np.array([[1, 2, 3.5, 6]]), None, [0], None, 9, 9)
    assert cells.areas.tolist() == [10]
    with pytest.raises(ValueError, match="boxes only"):
        cells.measure()


label_maps = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).choice([0, 0, 1, 2, 7], (6, 9))
)


@settings(max_examples=40, deadline=None)
@given(label_maps)
def test_from_label_map_when_painted_again_then_the_same_cells(label_map):
    cells = Cells.from_label_map(label_map, 2, NAMES)
    ids, boxes, areas, rles = encode_label_map(label_map)
    assert cells.rles == rles
    assert cells.areas.tolist() == areas.tolist()
    assert cells.boxes.tolist() == boxes.tolist()
    assert cells.classes == ["c"] * len(ids)
    assert (np.append(0, ids)[cells.label_map()] == label_map).all()


def test_from_instances_when_regions_are_ignored_then_they_are_marked():
    rle = encode_crop(np.ones((2, 3), bool), 1, 1, 6, 8)
    instances = [
        {"bbox": [1, 1, 4, 3], "bbox_label": 1, "ignore_flag": 0, "mask": rle},
        {"bbox": [0, 0, 5, 5], "bbox_label": -1, "ignore_flag": 1, "mask": rle},
    ]
    cells = Cells.from_instances(instances, 6, 8, NAMES)
    assert (cells.labels.tolist(), cells.is_ignored.tolist()) == ([1, -1], [False, True])
    assert cells.rles == [rle, rle]
    assert cells.scores is None
    del instances[0]["mask"], instances[1]["ignore_flag"]
    assert Cells.from_instances(instances, 6, 8).masks is None
    assert len(Cells.from_instances([], 6, 8).rles) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_from_prediction_when_tensors_are_of_any_precision_then_read(dtype):
    found = {
        "bboxes": torch.tensor([[1, 1, 4, 3]], dtype=dtype),
        "scores": torch.tensor([0.5], dtype=dtype),
        "labels": torch.tensor([2]),
        "masks": torch.ones(1, 6, 8, dtype=torch.bool),
    }
    cells = Cells.from_prediction(found, 6, 8, NAMES)
    assert (cells.scores.tolist(), cells.classes, cells.areas.tolist()) == ([0.5], ["c"], [48])
    assert cells.scores.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    boxes_only = {key: found[key] for key in ("bboxes", "labels")}
    assert Cells.from_prediction(boxes_only, 6, 8).masks is None


@settings(max_examples=20, deadline=None)
@given(label_maps)
def test_to_rles_when_masks_are_of_any_kind_then_the_same(label_map):
    ids, _, _, rles = encode_label_map(label_map)
    bitmaps = (label_map[None] == ids[:, None, None]).astype(np.uint8)
    as_bytes = [{"size": r["size"], "counts": r["counts"].encode()} for r in rles]
    layers = np.stack((np.zeros_like(label_map), label_map))
    for masks in (
        rles,
        as_bytes,
        LabelMapMasks(layers, np.ones(len(ids), dtype=int), ids),
        BitmapMasks(bitmaps, *label_map.shape),
        torch.from_numpy(bitmaps.astype(bool)),
        bitmaps.astype(bool),
    ):
        assert to_rles(masks) == rles


def test_to_rles_when_masks_are_polygons_or_in_two_layers_then_each_keeps_its_place():
    square = [np.array([1.0, 1, 4, 1, 4, 4, 1, 4])]
    (rle,) = to_rles(PolygonMasks([square], 8, 9))
    assert CellMasks(8, 9, rles=[rle]).measure()[1].tolist() == [9]
    layers = np.zeros((2, 4, 4), dtype=int)
    layers[0, 0, :2], layers[1, 1, :3] = 5, 5
    masks = LabelMapMasks(layers, [1, 0, 1], [5, 5, 9])
    areas = CellMasks(4, 4, rles=to_rles(masks)).measure()[1]
    assert areas.tolist() == [3, 2, 0]


def test_cells_when_pickled_then_the_masks_come_through_in_one_form(make_cells):
    label_map = np.kron(np.arange(12).reshape(3, 4), np.ones((3, 3), int))
    cells = make_cells(label_map)
    assert len(cells.rles) == 11
    copy = pickle.loads(pickle.dumps(cells))
    assert copy.masks._runs is None
    assert copy.rles == cells.rles
    np.testing.assert_array_equal(copy.label_map(), cells.label_map())
