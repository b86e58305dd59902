import copy

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from cellseg.inference.mask_tta import CellTTAModel
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_label_map


@MODELS.register_module(force=True)
class DarkOracle(BaseModel):
    """Finds dark rectangles in the image it is shown and returns them at the original size."""

    def forward(self, inputs, data_samples=None, mode="predict"):
        raise NotImplementedError

    def test_step(self, data):
        return [
            self.find(image, sample)
            for image, sample in zip(data["inputs"], data["data_samples"], strict=True)
        ]

    def find(self, image, sample):
        from scipy import ndimage

        height, width = sample.ori_shape
        scale_w, scale_h = sample.scale_factor
        assert tuple(image.shape[1:]) == tuple(sample.img_shape)
        rows = ((np.arange(height) + 0.5) * scale_h).astype(int).clip(0, image.shape[1] - 1)
        columns = ((np.arange(width) + 0.5) * scale_w).astype(int).clip(0, image.shape[2] - 1)
        dark = image[0].numpy()[rows][:, columns] < 128
        ids, boxes, areas, rles = encode_label_map(ndimage.label(dark)[0])
        sample = copy.copy(sample)
        sample.pred_instances = InstanceData(
            bboxes=torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            scores=torch.as_tensor(areas / 1000, dtype=torch.float32),
            labels=torch.zeros(len(ids), dtype=torch.long),
            masks=rles,
        )
        return sample


def pack(label_map, scale=1, padding=0):
    """Pack a label map as a test pipeline would: dark cells, enlarged, padded."""
    height, width = label_map.shape
    image = np.where(label_map > 0, 0, 255).astype(np.uint8).repeat(scale, 0).repeat(scale, 1)
    image = np.pad(image, ((0, padding), (0, 2 * padding)), constant_values=255)
    sample = DetDataSample(
        metainfo=dict(
            ori_shape=(height, width),
            img_shape=image.shape,
            scale_factor=(float(scale), float(scale)),
            img_id=7,
        )
    )
    return torch.from_numpy(np.stack([image] * 3)), sample


@pytest.fixture
def label_map():
    label_map = np.zeros((40, 64), dtype=int)
    label_map[0:9, 2:14], label_map[20:26, 50:64], label_map[12:32, 20:28] = 1, 2, 3
    label_map[12:16, 28:34] = 3  # no symmetry
    return label_map


def predict(items, **options):
    model = CellTTAModel(dict(type="mmdet.DarkOracle"), **options)
    inputs, samples = zip(*items, strict=True)
    return model.test_step({"inputs": list(inputs), "data_samples": list(samples)})


@pytest.mark.parametrize(("scale", "padding"), [(1, 0), (2, 0), (2, 7)])
@pytest.mark.parametrize(
    "views",
    [
        dict(rotations=(0,), mirror=True),
        dict(rotations=(1,), mirror=False),
        dict(rotations=(2,), mirror=False),
        dict(rotations=(3,), mirror=True),
        dict(),
        dict(rotations=(1,), mirror=True, scales=(0.5, 2.0)),
    ],
)
@pytest.mark.parametrize("method", ["wbf", "nms"])
def test_views_of_a_perfect_detector_give_its_cells_back(label_map, scale, padding, views, method):
    if scale == 1 and "scales" in views:
        views = {**views, "scales": (2.0,)}  # halving would lose pixels
    (result,) = predict([pack(label_map, scale, padding)], method=method, **views)
    found = result.pred_instances
    cells = Cells.from_rles(found.masks, *label_map.shape)
    painted = cells.label_map()
    np.testing.assert_array_equal(painted > 0, label_map > 0)
    assert len(found) == 3
    np.testing.assert_allclose(found.scores.numpy() * 1000, cells.areas, rtol=1e-4)
    expected = encode_label_map(painted)[1][np.argsort(encode_label_map(painted)[0])]
    np.testing.assert_allclose(found.bboxes.numpy(), expected, atol=1e-4)
    assert result.img_id == 7
    assert result.ori_shape == label_map.shape


def test_batch_of_images_of_different_sizes_is_merged_image_by_image(label_map):
    results = predict([pack(label_map), pack(np.zeros((9, 70), int)), pack(label_map.T.copy())])
    assert [len(result.pred_instances) for result in results] == [3, 0, 3]
    assert results[1].pred_instances.masks == []


def test_merged_cells_are_capped_and_thresholded(label_map):
    (capped,) = predict([pack(label_map)], max_per_img=2)
    assert len(capped.pred_instances) == 2
    (sure,) = predict([pack(label_map)], score_thr=0.1)
    assert (sure.pred_instances.scores >= 0.1).all()


@pytest.mark.parametrize("options", [dict(rotations=(4,)), dict(scales=()), dict(scales=(0.0,))])
def test_views_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="Test-time views"):
        CellTTAModel(dict(type="mmdet.DarkOracle"), **options)
