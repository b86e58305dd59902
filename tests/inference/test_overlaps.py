import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg.inference.overlaps import find_box_pairs, measure_overlaps
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_crops, measure_rles


def pairs_one_by_one(boxes):
    found = []
    for i in range(len(boxes)):
        for j in range(i + 1, len(boxes)):
            low = np.maximum(boxes[i, :2], boxes[j, :2])
            high = np.minimum(boxes[i, 2:], boxes[j, 2:])
            if (high > low).all():
                found.append((i, j))
    return np.array(found, dtype=int).reshape(-1, 2)


@given(st.lists(st.tuples(*[st.integers(-5, 40)] * 2, *[st.integers(0, 30)] * 2), max_size=25))
@settings(max_examples=200, deadline=None)
def test_find_box_pairs_of_any_boxes_equals_trying_all_pairs(items):
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in items]).reshape(-1, 4)
    np.testing.assert_array_equal(find_box_pairs(boxes), pairs_one_by_one(boxes))


def test_find_box_pairs_in_small_blocks_finds_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 300, (200, 2))
    boxes = np.concatenate((corners, corners + rng.uniform(1, 60, (200, 2))), axis=1)
    expected = pairs_one_by_one(boxes)
    monkeypatch.setattr("cellseg.inference.overlaps._PAIR_BLOCK", 7)
    np.testing.assert_array_equal(find_box_pairs(boxes), expected)


@pytest.mark.parametrize("min_overlap", [0.0, 0.4])
def test_measure_overlaps_of_random_masks_equals_full_size_bitmaps(min_overlap):
    rng = np.random.default_rng(1)
    crops = [rng.random(rng.integers(1, 15, 2)) < 0.7 for _ in range(40)]
    rles = encode_crops(crops, rng.integers(0, 30, 40), rng.integers(0, 30, 40), 40, 40)
    boxes, areas = measure_rles(rles)
    cells = Cells(boxes, np.ones(40), np.zeros(40), rles, 40, 40, ("a",))
    bitmaps = np.zeros((40, 40, 40), dtype=int)
    for bitmap, crop in zip(bitmaps, cells.crops(), strict=True):
        rows, columns = crop.mask.shape
        bitmap[crop.y0 : crop.y0 + rows, crop.x0 : crop.x0 + columns] = crop.mask
    flat = bitmaps.reshape(40, -1)
    shared = flat @ flat.T
    iomin = shared / np.minimum(areas[:, None], areas[None]).clip(1)
    wanted = np.argwhere(np.triu((shared > 0) & (iomin >= min_overlap), 1))
    overlaps = measure_overlaps(cells, min_overlap=min_overlap)
    np.testing.assert_array_equal(overlaps.pairs, wanted)
    i, j = wanted.T
    np.testing.assert_array_equal(overlaps.intersections, shared[i, j])
    np.testing.assert_allclose(overlaps.iou, shared[i, j] / (areas[i] + areas[j] - shared[i, j]))
    np.testing.assert_allclose(overlaps.iomin, iomin[i, j])


def test_measure_overlaps_without_cells_finds_nothing():
    overlaps = measure_overlaps(Cells.empty(5, 5, ("a",)))
    assert overlaps.pairs.shape == (0, 2)
    assert len(overlaps.iou) == 0


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_measure_overlaps_of_pairs_in_blocks_then_those_that_share_pixels(monkeypatch, block):
    rng = np.random.default_rng(2)
    crops = [rng.random(rng.integers(1, 15, 2)) < 0.7 for _ in range(40)]
    rles = encode_crops(crops, rng.integers(0, 30, 40), rng.integers(0, 30, 40), 40, 40)
    cells = Cells.from_rles(rles, 40, 40)
    pairs = np.array([(j, i) for i in range(40) for j in range(i + 1, 40) if (i + j) % 3])
    everything = measure_overlaps(cells)
    asked = everything.pairs.sum(axis=1) % 3 > 0
    monkeypatch.setattr("cellseg.inference.overlaps._COUNTED_BLOCK", block)
    overlaps = measure_overlaps(cells, rng.permutation(pairs))
    for some, all_of_them in zip(overlaps, everything, strict=True):
        np.testing.assert_array_equal(some, all_of_them[asked])


def test_measure_overlaps_of_no_pairs_finds_nothing():
    cells = Cells.from_label_map(np.array([[1, 2], [2, 1]]))
    overlaps = measure_overlaps(cells, np.zeros((0, 2), dtype=np.int64))
    assert overlaps.pairs.shape == (0, 2)
    assert len(overlaps.iomin) == 0
