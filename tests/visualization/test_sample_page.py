"""Samples drawn as the network gets them."""

from typing import Any

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from cellseg.structures.label_map_masks import LabelMapMasks
from cellseg.structures.rle import encode_label_map
from cellseg.visualization.sample_page import PageStyle, arrange_page, draw_sample

BLUE = (20, 40, 240)
STYLE = PageStyle(["cell"], [BLUE], tile_px=128, ids="never")


def draw_layer(scale: int = 1) -> np.ndarray:
    """Draw one cell of 20 x 20 px in 64 x 64."""
    layer = np.zeros((64, 64), dtype=np.int32)
    layer[10:30, 20:40] = 7
    return np.kron(layer, np.ones((scale, scale), dtype=np.int32))


def make_train_sample() -> dict[str, Any]:
    """Pack an image with its label map, as training pipelines do."""
    sample = DetDataSample(metainfo={"img_name": "a", "img_shape": (64, 64), "ori_shape": (64, 64)})
    sample.gt_instances = InstanceData(
        labels=torch.zeros(1, dtype=torch.long),
        bboxes=torch.tensor([[20.0, 10, 40, 30]]),
        masks=LabelMapMasks(draw_layer()[None], [0], [7]),
    )
    return {"inputs": torch.full((3, 64, 64), 200, dtype=torch.uint8), "data_samples": sample}


def make_test_sample() -> dict[str, Any]:
    """Pack an image at half its size with the instances of the file, as test pipelines do."""
    ids, boxes, areas, rles = encode_label_map(draw_layer(2))
    cell = {"bbox": boxes[0].tolist(), "bbox_label": 0, "ignore_flag": 0, "mask": rles[0]}
    meta = {"img_name": "a", "img_shape": (64, 64), "ori_shape": (128, 128)}
    sample = DetDataSample(metainfo={**meta, "instances": [{**cell, "label_id": 7}]})
    return {"inputs": torch.full((3, 64, 64), 200, dtype=torch.uint8), "data_samples": sample}


def painted(tile: np.ndarray) -> np.ndarray:
    """Return the box x1, y1, x2, y2 of the blue pixels below the caption."""
    picture = tile[-128:]
    ys, xs = np.nonzero(np.abs(picture.astype(int) - BLUE).sum(axis=2) < 60)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])


@pytest.mark.parametrize("make_sample", [make_train_sample, make_test_sample])
def test_draw_sample_when_packed_then_the_outline_lies_on_the_cell(make_sample: Any) -> None:
    tile = draw_sample(make_sample(), STYLE)
    assert tile.shape[1] == 128
    assert tile.shape[0] > 128
    np.testing.assert_allclose(painted(tile), [40, 20, 80, 60], atol=3)


def test_draw_sample_when_ids_are_asked_for_then_written_in_the_cell() -> None:
    plain = draw_sample(make_train_sample(), STYLE)
    with_ids = draw_sample(make_train_sample(), PageStyle(["cell"], [BLUE], 128, "auto"))
    changed = np.argwhere((plain != with_ids).any(axis=2)) - (plain.shape[0] - 128, 0)
    assert len(changed) > 5
    assert (np.abs(changed - (40, 60)) < 10).all()


def test_draw_sample_when_there_is_no_cell_then_only_the_image() -> None:
    sample = DetDataSample(metainfo={"img_id": 3, "img_shape": (64, 64), "ori_shape": (64, 64)})
    data = {"inputs": torch.zeros((3, 64, 64), dtype=torch.uint8), "data_samples": sample}
    assert not draw_sample(data, STYLE)[-128:].any()


def test_draw_sample_when_channels_are_bgr_then_the_page_is_rgb() -> None:
    sample = make_train_sample()
    sample["inputs"][0] = 10
    assert draw_sample(sample, STYLE)[-1, -1].tolist() == [200, 200, 10]


def test_arrange_page_when_tiles_differ_then_none_is_cut() -> None:
    tiles = [np.full((h, w, 3), 9, dtype=np.uint8) for h, w in ((5, 8), (7, 3), (2, 20))]
    page = arrange_page(tiles, columns=2)
    assert (page == 9).all(axis=2).sum() == 5 * 8 + 7 * 3 + 2 * 20
    assert page.shape == (7 + 8 + 2 + 8, 28, 3)
