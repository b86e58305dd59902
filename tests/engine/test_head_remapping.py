"""Heads of some classes become heads of others."""

import pytest
import torch

from cellseg.engine.head_remapping import remap_heads

WEIGHTS = {
    "roi_head.bbox_head.fc_cls.weight": torch.arange(9.0).reshape(3, 3),  # a, b, background
    "roi_head.bbox_head.fc_cls.bias": torch.tensor([1.0, 3.0, 9.0]),
    "roi_head.bbox_head.fc_reg.weight": torch.arange(16.0).reshape(8, 2),
    "roi_head.mask_head.conv_logits.weight": torch.tensor([1.0, 5.0]).reshape(2, 1, 1, 1),
    "rpn_head.conv.weight": torch.ones(2, 2),
}


def test_heads_when_classes_change_then_known_ones_stay_and_new_ones_are_the_mean():
    found, changed = remap_heads(WEIGHTS, ("a", "b"), ("b", "new", "a"))
    assert changed == 4
    assert found["roi_head.bbox_head.fc_cls.bias"].tolist() == [3.0, 2.0, 1.0, 9.0]
    assert found["roi_head.bbox_head.fc_cls.weight"][-1].tolist() == [6.0, 7.0, 8.0]
    boxes = found["roi_head.bbox_head.fc_reg.weight"]
    assert boxes.shape == (12, 2)
    assert torch.equal(boxes[:4], WEIGHTS["roi_head.bbox_head.fc_reg.weight"][4:])
    assert torch.equal(boxes[4:8], (boxes[:4] + boxes[8:]) / 2)
    assert found["roi_head.mask_head.conv_logits.weight"].flatten().tolist() == [5.0, 3.0, 1.0]
    assert found["rpn_head.conv.weight"] is WEIGHTS["rpn_head.conv.weight"]


@pytest.mark.parametrize("target", [("a", "b"), ["a", "b"]])
def test_heads_when_classes_are_the_same_then_nothing_changes(target):
    found, changed = remap_heads(WEIGHTS, ("a", "b"), target)
    assert changed == 0
    assert all(torch.equal(found[name], value) for name, value in WEIGHTS.items())


def test_heads_when_boxes_are_class_agnostic_then_they_stay():
    weights = {"bbox_head.fc_reg.weight": torch.ones(4, 2)}
    assert remap_heads(weights, ("a", "b"), ("c",))[1] == 0
