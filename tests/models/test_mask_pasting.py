"""Pasting crop by crop gives the pixels of mmdet's full-size paste."""

import hypothesis.strategies as st
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from pycocotools import mask as mask_api

from cellseg.models import mask_pasting
from cellseg.models.mask_pasting import find_windows, paste_and_encode
from cellseg.structures.rle import encode_label_map


def paste_as_stock(masks, boxes, height, width, threshold):
    """Paste one mask after another into full-size bitmaps, as FCNMaskHead does on a CPU."""
    pasted = torch.zeros(len(masks), height, width, dtype=torch.bool)
    for index in range(len(masks)):
        one = slice(index, index + 1)
        values, place = _do_paste_mask(masks[one, None], boxes[one], height, width)
        pasted[(one, *place)] = (values >= threshold).cpu()
    return pasted.numpy()


def decode(rles, height, width):
    """Decode RLEs to (N, height, width) bool by pycocotools."""
    assert all(rle["size"] == [height, width] and type(rle["counts"]) is str for rle in rles)
    full = [mask_api.decode({**rle, "counts": rle["counts"].encode()}) for rle in rles]
    return np.array(full, dtype=bool).reshape(len(rles), height, width)


def draw_masks(number: int, seed: int, side: int = 28):
    """Draw (number, side, side) probabilities."""
    return torch.rand(number, side, side, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=150, deadline=None)
@given(
    number=st.integers(0, 12),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    whole=st.booleans(),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.9]),
    budget=st.sampled_from([1, 300, 1 << 20]),
    seed=st.integers(0, 10**6),
)
def test_paste_when_boxes_are_drawn_then_equals_stock(
    device, number, height, width, whole, threshold, budget, seed
):
    generator = torch.Generator().manual_seed(seed)
    limits = torch.tensor([width, height], dtype=torch.float32)
    corners = torch.rand(number, 2, generator=generator) * limits
    sizes = torch.rand(number, 2, generator=generator) ** 3 * 1.5 * limits
    boxes = torch.cat([corners, torch.minimum(corners + sizes, limits)], dim=1)
    boxes = boxes.round() if whole else boxes
    masks, boxes = draw_masks(number, seed).to(device), boxes.to(device)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mask_pasting, "MAX_SAMPLES", budget)
        patch.setattr(mask_pasting, "MAX_PENDING", budget)
        rles = paste_and_encode(masks, boxes, height, width, threshold)
    expected = paste_as_stock(masks, boxes, height, width, threshold)
    assert np.array_equal(decode(rles, height, width), expected)


@pytest.mark.parametrize(
    "box",
    [
        [0.0, 5, 0, 20],  # without width, at the left border
        [40, 5, 40, 20],  # at the right one
        [9.5, 5, 9.5, 20],  # exactly on a pixel center, where mmdet divides 0 by 0
        [9.3, 7.2, 9.3, 7.2],  # a point
        [-30, -20, 70, 60],  # larger than the image
        [-8.5, -3, 6, 9],
        [30.2, 20, 55, 44],
        [12, 12, 12.01, 30],
    ],
)
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_paste_when_a_box_is_odd_then_equals_stock(box, threshold):
    masks, boxes = draw_masks(1, 3), torch.tensor([box], dtype=torch.float32)
    rles = paste_and_encode(masks, boxes, 30, 40, threshold)
    expected = paste_as_stock(masks, boxes, 30, 40, threshold)
    assert np.array_equal(decode(rles, 30, 40), expected)


@pytest.mark.parametrize("box", [[50.0, 5, 60, 20], [-20, 5, -10, 9], [float("nan")] * 4])
def test_paste_when_a_box_misses_the_image_then_its_mask_is_empty(box):
    boxes = torch.tensor([box, [3.0, 3, 20, 20]])
    rles = paste_and_encode(torch.ones(2, 28, 28), boxes, 30, 40, 0.5)
    assert decode(rles, 30, 40).any(axis=(1, 2)).tolist() == [False, True]


def test_paste_when_there_are_no_masks_then_gives_an_empty_list():
    assert paste_and_encode(torch.zeros(0, 28, 28), torch.zeros(0, 4), 30, 40, 0.5) == []


def test_paste_under_autocast_when_masks_are_bf16_then_boxes_keep_their_precision():
    masks, boxes = torch.ones(1, 28, 28, dtype=torch.bfloat16), torch.tensor([[1017.2, 3, 1021, 9]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rles = paste_and_encode(masks, boxes, 16, 1024, 0.5)
    assert np.flatnonzero(decode(rles, 16, 1024)[0].any(axis=0)).tolist() == [
        1017,
        1018,
        1019,
        1020,
    ]


def test_paste_when_a_box_is_huge_then_samples_it_in_strips(monkeypatch):
    sampled = []
    grid_sample = torch.nn.functional.grid_sample

    def count(masks, grid, **kwargs):
        sampled.append(grid.numel() // 2)
        return grid_sample(masks, grid, **kwargs)

    monkeypatch.setattr(mask_pasting.F, "grid_sample", count)
    monkeypatch.setattr(mask_pasting, "MAX_SAMPLES", 5000)
    boxes = torch.tensor([[2.0, 2, 290, 295], [5, 5, 40, 40]])
    masks = draw_masks(2, 0)
    rles = paste_and_encode(masks, boxes, 300, 300, 0.5)
    assert max(sampled) <= 5000
    assert np.array_equal(decode(rles, 300, 300), paste_as_stock(masks, boxes, 300, 300, 0.5))


def test_find_windows_when_boxes_lie_inside_then_adds_one_pixel():
    windows = find_windows(torch.tensor([[10.2, 10.0, 20.5, 21.0]]), 100, 100)
    assert windows.tolist() == [[9, 9, 22, 22]]


def test_paste_when_cells_are_real_and_dense_then_equals_stock(real_data, device):
    label_map = tifffile.imread(real_data / "hw3/train/hgsc_nest_1500/class2.tif").astype(np.int64)
    ids, boxes, _, _ = encode_label_map(label_map)
    crops = [
        torch.from_numpy(label_map[y1:y2, x1:x2] == cell).float()[None, None]
        for cell, (x1, y1, x2, y2) in zip(ids.tolist(), boxes.tolist(), strict=True)
    ]
    sides = dict(size=(28, 28), mode="bilinear")
    masks = torch.cat([torch.nn.functional.interpolate(crop, **sides) for crop in crops])[:, 0]
    chosen = slice(None, None, 8)
    masks, boxes = masks.to(device), torch.from_numpy(boxes).to(device).float() + 0.3
    rles = paste_and_encode(masks, boxes, *label_map.shape, 0.5)
    expected = paste_as_stock(masks[chosen], boxes[chosen], *label_map.shape, 0.5)
    assert len(rles) == 633
    assert np.array_equal(decode(rles[chosen], *label_map.shape), expected)
