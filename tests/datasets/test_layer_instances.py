"""Label maps to instances to COCO, against the plain way of one mask at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from cellseg.datasets.layer_instances import (
    count_overlap_px,
    find_instances,
    split_pieces,
    to_data_instances,
)

LABEL_MAPS = hnp.arrays(
    np.int32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.sampled_from([0, 0, 0, 1, 2, 9, 70_000]),
)


@settings(max_examples=60, deadline=None)
@given(LABEL_MAPS, LABEL_MAPS)
def test_find_instances_when_any_maps_then_equal_to_one_mask_at_a_time(first, second):
    layers = [first, np.resize(second, first.shape)]
    found = find_instances(layers)
    expected = [(k, i) for k, layer in enumerate(layers) for i in np.unique(layer[layer > 0])]
    assert list(zip(found.layers, found.label_ids, strict=True)) == expected
    for row, (layer, label_id) in enumerate(expected):
        mask = layers[layer] == label_id
        ys, xs = np.nonzero(mask)
        box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert found.boxes_xyxy[row].tolist() == box
        assert found.areas[row] == mask.sum()
        np.testing.assert_array_equal(coco_mask.decode(found.rles[row]), mask)


@pytest.mark.parametrize("layers", [[], [np.zeros((4, 5), np.int32)]])
def test_find_instances_when_no_cell_then_empty_arrays_of_right_shape(layers):
    found = find_instances(layers)
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.areas.shape == found.layers.shape == found.label_ids.shape == (0,)
    assert found.rles == []


def test_count_overlap_px_when_three_layers_then_each_pixel_counted_once():
    layers = np.zeros((3, 4, 4), np.int32)
    layers[0, :2] = 1
    layers[1, 1:3] = 2
    layers[2, 1, :2] = 3
    assert count_overlap_px(list(layers)) == 4
    assert count_overlap_px([layers[0]]) == count_overlap_px([]) == 0


def test_split_pieces_when_yes_no_mask_then_one_id_a_piece():
    regions = np.zeros((8, 8), np.int32)
    regions[0:2, 0:2] = regions[2, 2] = regions[6:, 5:] = 255
    split = split_pieces(regions)
    assert sorted(np.unique(split)) == [0, 1, 2]
    assert split[0, 0] == split[2, 2] != split[7, 7]
    np.testing.assert_array_equal(split > 0, regions > 0)


def test_split_pieces_when_each_id_is_one_piece_then_ids_kept_even_where_they_touch():
    regions = np.zeros((4, 6), np.int32)
    regions[:, :3], regions[:, 3:] = 500, 70_000
    np.testing.assert_array_equal(split_pieces(regions), regions)
    assert not split_pieces(np.zeros((3, 3), np.int32)).any()


@settings(max_examples=40, deadline=None)
@given(LABEL_MAPS)
def test_split_pieces_when_any_map_then_partition_is_refined(regions):
    split = split_pieces(regions)
    np.testing.assert_array_equal(split > 0, regions > 0)
    for piece in np.unique(split[split > 0]):
        assert len(np.unique(regions[split == piece])) == 1


def test_to_data_instances_when_min_area_then_small_cells_drop_but_not_ignored(label_map):
    cells = label_map.astype(np.int32)
    found = find_instances([cells, (cells == 7).astype(np.int32)])
    assert [c["area"] for c in to_data_instances(found, (2, -1))] == [13, 10, 13]
    kept = to_data_instances(found, (2, -1), min_area_px=14)
    assert [(c["bbox_label"], c["ignore_flag"], c["layer"]) for c in kept] == [(-1, 1, 1)]
