"""Loading of one entry for training, against mmdet's own one-mask-a-cell loading."""

import numpy as np
import pytest
import tifffile
import torch
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.datasets.transforms import LoadCellImage, LoadLabelMaps
from cellseg.errors import CellDataError
from cellseg.structures.label_map_masks import LabelMapMasks


@pytest.fixture
def entry(tmp_path, draw_image, label_map):
    """Return an entry of two classes and a yes/no mask of two regions to ignore."""
    other = np.zeros_like(label_map)
    other[5:7, 5:9] = 7
    regions = np.zeros((12, 16), np.uint8)
    regions[:2, 12:] = regions[6:9, :2] = 255
    labels = {"class1.tif": label_map, "class2.tif": other, "ignore.tif": regions}
    draw_image(tmp_path, "a", labels)
    return CellDataset(data_root=tmp_path).get_data_info(0)


def test_load_label_maps_when_any_entry_then_equal_to_stock_loading(entry):
    stock = LoadAnnotations(with_bbox=True, with_mask=True)(dict(entry, ori_shape=(12, 16)))
    ours = TRANSFORMS.build({"type": "LoadLabelMaps"})(dict(entry))
    assert isinstance(ours["gt_masks"], LabelMapMasks)
    assert isinstance(ours["gt_bboxes"], HorizontalBoxes)
    assert len(ours["gt_masks"]) == 5
    np.testing.assert_array_equal(ours["gt_masks"].to_ndarray(), stock["gt_masks"].to_ndarray())
    assert torch.equal(ours["gt_bboxes"].tensor, stock["gt_bboxes"].tensor)
    for key in ("gt_bboxes_labels", "gt_ignore_flags"):
        np.testing.assert_array_equal(ours[key], stock[key])
        assert ours[key].dtype == stock[key].dtype
    assert ours["gt_ignore_flags"].tolist() == [False, False, False, True, True]


def test_load_label_maps_when_no_label_file_then_empty_of_right_shape(tmp_path, draw_image):
    draw_image(tmp_path, "a")
    loaded = LoadLabelMaps()(CellDataset(data_root=tmp_path).get_data_info(0))
    assert loaded["gt_bboxes"].tensor.shape == (0, 4)
    assert loaded["gt_bboxes_labels"].dtype == np.int64
    assert loaded["gt_ignore_flags"].dtype == bool
    assert len(loaded["gt_masks"]) == 0
    assert loaded["gt_masks"].to_ndarray().shape == (0, 12, 16)


def test_load_label_maps_when_file_changed_shape_since_then_error(entry):
    tifffile.imwrite(entry["label_paths"][1], np.zeros((3, 3), np.uint8))
    with pytest.raises(CellDataError, match=r"class2.tif: is 3 x 3"):
        LoadLabelMaps()(entry)


def test_load_cell_image_when_built_by_name_then_image_and_shapes(entry):
    loaded = TRANSFORMS.build({"type": "LoadCellImage"})(dict(entry))
    rgb = tifffile.imread(entry["img_path"])
    np.testing.assert_array_equal(loaded["img"], rgb[..., ::-1])
    assert loaded["img"].dtype == np.uint8
    assert loaded["img_shape"] == loaded["ori_shape"] == (12, 16)
    entry["image_format"]["channel_order"] = "bgr"
    np.testing.assert_array_equal(LoadCellImage(to_float32=True)(entry)["img"], rgb)
    assert entry["img"].dtype == np.float32


def test_transforms_when_run_through_a_stock_pipeline_then_packed(entry, tmp_path):
    pipeline = [
        {"type": "mmdet.LoadCellImage"},
        {"type": "mmdet.LoadLabelMaps"},
        {"type": "mmdet.Resize", "scale": (32, 24), "keep_ratio": True},
        {"type": "mmdet.RandomFlip", "prob": 1.0},
        {"type": "mmdet.PackDetInputs"},
    ]
    packed = CellDataset(data_root=tmp_path, pipeline=pipeline)[0]
    sample = packed["data_samples"]
    assert packed["inputs"].shape == (3, 24, 32)
    assert len(sample.gt_instances) == 3
    assert len(sample.ignored_instances) == 2
    assert sample.gt_instances.masks.height == 24


def test_repr_when_printed_then_builds_the_same():
    assert repr(LoadCellImage()) == "LoadCellImage(to_float32=False)"
    assert repr(LoadLabelMaps()) == "LoadLabelMaps()"
