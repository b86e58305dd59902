"""Transposition: image, boxes and label maps turn together."""

import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes

from cellseg.datasets.transforms_transpose import RandomTranspose
from cellseg.structures.label_map_masks import LabelMapMasks


def make_results(height: int = 7, width: int = 12, num_masks: int = 4) -> dict:
    """Give an image whose pixels tell where its masks lie."""
    masks = LabelMapMasks.random(num_masks, height, width, rng=0)
    return {
        "img": np.repeat(masks.layers[0][..., None], 3, axis=2).astype(np.uint8),
        "img_shape": (height, width),
        "scale_factor": (2.0, 3.0),
        "gt_bboxes": masks.get_bboxes(HorizontalBoxes),
        "gt_masks": masks,
    }


def test_transpose_when_applied_then_masks_and_boxes_follow_the_image() -> None:
    results = RandomTranspose(prob=1.0)(make_results())
    masks = results["gt_masks"]
    assert results["img"].shape == (12, 7, 3)
    assert results["img_shape"] == (12, 7)
    assert results["scale_factor"] == (3.0, 2.0)
    assert (masks.height, masks.width) == (12, 7)
    for mask, label_id in zip(masks, masks.label_ids, strict=True):
        np.testing.assert_array_equal(mask, results["img"][..., 0] == label_id)
    np.testing.assert_array_equal(
        results["gt_bboxes"].tensor, masks.get_bboxes(HorizontalBoxes).tensor
    )


def test_transpose_when_twice_then_as_before() -> None:
    before, transpose = make_results(), RandomTranspose(prob=1.0)
    after = transpose(transpose(make_results()))
    np.testing.assert_array_equal(after["img"], before["img"])
    np.testing.assert_array_equal(after["gt_masks"].layers, before["gt_masks"].layers)
    assert after["scale_factor"] == before["scale_factor"]


def test_transpose_when_there_is_no_cell_then_shapes_still_turn() -> None:
    results = RandomTranspose(prob=1.0)(make_results(num_masks=0))
    masks = results["gt_masks"]
    assert (len(masks), masks.height, masks.width) == (0, 12, 7)
    assert results["gt_bboxes"].tensor.shape == (0, 4)


def test_transpose_and_flip_when_drawn_often_then_all_eight_ways_come_out() -> None:
    flip = dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"])
    steps = [RandomTranspose(), TRANSFORMS.build(flip)]
    np.random.seed(0)
    counts: dict[bytes, int] = {}
    for _ in range(800):
        results = make_results(6, 6)
        for step in steps:
            results = step(results)
        key = results["img"].tobytes()
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 8
    assert min(counts.values()) > 60


def test_transpose_when_probability_makes_no_sense_then_error() -> None:
    with pytest.raises(ValueError, match="0 <= prob <= 1"):
        RandomTranspose(prob=2.0)
