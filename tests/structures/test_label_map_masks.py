"""LabelMapMasks against mmdet's BitmapMasks, operation by operation."""

import copy
import pickle
from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from cellseg.structures.label_map_masks import LabelMapMasks

# OpenCV warps no more channels at once, so stock does no more masks.
OPENCV_CHANNELS = 512 if cv2.__version__.startswith("4.") else 128
COUNTS = st.sampled_from([0, 1, 2, 3, 4, 5, 9, 30])
sides = st.integers(1, 40)
quick = settings(max_examples=60, deadline=None)


def draw_masks(rng: np.random.Generator, num_masks: int, height: int, width: int) -> LabelMapMasks:
    """Scatter blocks of random ids over two layers; some masks have no pixel."""
    ids = rng.choice([*range(1, 400), 70_000, 2**31 - 1], size=max(num_masks, 1), replace=False)
    layers = np.zeros((2, height, width), dtype=np.int32)
    layer_inds = rng.integers(0, 2, size=num_masks)
    for layer_ind, label_id in zip(layer_inds, ids, strict=False):
        for _ in range(rng.integers(0, 4)):
            y, x = rng.integers(0, height), rng.integers(0, width)
            h, w = rng.integers(1, 12, size=2)
            layers[layer_ind, y : y + h, x : x + w] = label_id
    return LabelMapMasks(layers, layer_inds, ids[:num_masks])


def as_bitmaps(masks: LabelMapMasks) -> BitmapMasks:
    """Draw the masks one by one, apart from the code under test."""
    drawn = [
        (masks.layers[layer] == label).astype(np.uint8)
        for layer, label in zip(masks.layer_inds, masks.label_ids, strict=True)
    ]
    return BitmapMasks(drawn, masks.height, masks.width)


def assert_same(ours: LabelMapMasks, stock: BitmapMasks) -> None:
    assert isinstance(ours, LabelMapMasks)
    assert (ours.height, ours.width, len(ours)) == (stock.height, stock.width, len(stock))
    assert np.array_equal(ours.to_ndarray(), stock.to_ndarray())


@st.composite
def mask_pairs(draw, counts=COUNTS) -> tuple[LabelMapMasks, BitmapMasks]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    masks = draw_masks(rng, draw(counts), draw(sides), draw(sides))
    return masks, as_bitmaps(masks)


@quick
@given(pair=mask_pairs(), shape=st.tuples(st.integers(1, 90), st.integers(1, 90)))
def test_resize_when_any_size_then_equals_bitmaps(pair, shape):
    ours, stock = pair
    assert_same(ours.resize(shape), stock.resize(shape))
    assert_same(ours.resize(shape, interpolation="bilinear"), stock.resize(shape))


@quick
@given(
    pair=mask_pairs(), scale=st.floats(0.3, 3) | st.tuples(st.integers(9, 80), st.integers(9, 80))
)
def test_rescale_when_any_scale_then_equals_bitmaps(pair, scale):
    ours, stock = pair
    try:
        expected = stock.rescale(scale)
    except Exception:  # a side that rounds to nothing
        assume(False)
    assume(min(expected.height, expected.width) > 0)
    assert_same(ours.rescale(scale), expected)


@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal"])
@quick
@given(pair=mask_pairs())
def test_flip_when_any_direction_then_equals_bitmaps(direction, pair):
    ours, stock = pair
    assert_same(ours.flip(direction), stock.flip(direction))


@quick
@given(pair=mask_pairs(), more=st.tuples(st.integers(0, 20), st.integers(0, 20)))
def test_pad_when_larger_then_equals_bitmaps(pair, more):
    ours, stock = pair
    shape = (ours.height + more[0], ours.width + more[1])
    assert_same(ours.pad(shape), stock.pad(shape))


@quick
@given(pair=mask_pairs(), box=st.tuples(*[st.integers(-10, 50)] * 4))
def test_crop_when_any_box_then_equals_bitmaps(pair, box):
    ours, stock = pair
    box = np.array(box)
    try:
        expected = stock.crop(box)
    except AssertionError:  # wholly outside
        with pytest.raises(ValueError, match="lies outside"):
            ours.crop(box)
        return
    assert_same(ours.crop(box), expected)


@quick
@given(pair=mask_pairs(), place=st.tuples(*[st.integers(0, 9)] * 4))
def test_expand_when_placed_anywhere_then_equals_bitmaps(pair, place):
    ours, stock = pair
    top, left, below, right = place
    canvas = (ours.height + top + below, ours.width + left + right, top, left)
    assert_same(ours.expand(*canvas), stock.expand(*canvas))


@quick
@given(
    pair=mask_pairs(),
    offset=st.floats(-30, 30, width=32) | st.integers(-30, 30),
    direction=st.sampled_from(["horizontal", "vertical", "both"]),
    shape=st.none() | st.tuples(sides, sides),
)
def test_translate_when_nearest_then_equals_bitmaps(pair, offset, direction, shape):
    ours, stock = pair
    shape = shape or (ours.height, ours.width)
    asked = {"out_shape": shape, "offset": offset, "direction": direction}
    assert_same(ours.translate(**asked), stock.translate(**asked, interpolation="nearest"))


@quick
@given(
    pair=mask_pairs(),
    magnitude=st.floats(-2, 2),
    direction=st.sampled_from(["horizontal", "vertical"]),
)
def test_shear_when_nearest_then_equals_bitmaps(pair, magnitude, direction):
    ours, stock = pair
    shape = (ours.height, ours.width)
    expected = stock.shear(shape, magnitude, direction, interpolation="nearest")
    assert_same(ours.shear(shape, magnitude, direction), expected)


@quick
@given(
    pair=mask_pairs(),
    angle=st.floats(-180, 180),
    center=st.none() | st.tuples(st.floats(0, 40), st.floats(0, 40)),
    scale=st.floats(0.5, 2),
)
def test_rotate_when_nearest_then_equals_bitmaps(pair, angle, center, scale):
    ours, stock = pair
    shape = (ours.height, ours.width)
    expected = stock.rotate(shape, angle, center, scale, interpolation="nearest")
    assert_same(ours.rotate(shape, angle, center, scale), expected)


WARPS: list[Callable] = [
    lambda masks: masks.rotate((97, 83), 33.3, scale=1.2, interpolation="nearest"),
    lambda masks: masks.shear((97, 83), 0.37, interpolation="nearest"),
    lambda masks: masks.translate((97, 83), 7.6, interpolation="nearest"),
]


def draw_many_masks(num_masks: int) -> LabelMapMasks:
    """Draw masks of which each occurs several times: so many do not fit side by side."""
    masks = draw_masks(np.random.default_rng(num_masks), 128, 97, 83)
    return masks[np.resize(np.arange(len(masks)), num_masks)]


def warp_stock(warp: Callable, stock: BitmapMasks) -> BitmapMasks:
    """Warp in one call, or where OpenCV takes fewer masks in parts."""
    if len(stock) <= OPENCV_CHANNELS:
        return warp(stock)
    rest = 5  # one of 1, 3 or 4 would round differently
    starts = [*range(0, len(stock) - rest, OPENCV_CHANNELS), len(stock) - rest, len(stock)]
    return BitmapMasks.cat([warp(stock[a:b]) for a, b in pairwise(starts)])


@pytest.mark.parametrize("num_masks", [127, 128, 129, 512])
def test_rotate_and_shear_when_there_are_up_to_512_masks_then_equal_bitmaps(num_masks):
    ours = draw_many_masks(num_masks)
    stock = as_bitmaps(ours)
    for warp in WARPS:
        assert_same(warp(ours), warp_stock(warp, stock))


def test_rotate_and_shear_when_there_are_more_masks_than_stock_takes_then_go_on():
    ours = draw_many_masks(OPENCV_CHANNELS + 1)
    stock = as_bitmaps(ours)
    for warp in WARPS:
        with pytest.raises(cv2.error):
            warp(stock)
        assert_same(warp(ours), warp_stock(warp, stock))


@quick
@given(pair=mask_pairs())
def test_areas_and_boxes_when_any_masks_then_equal_bitmaps(pair):
    ours, stock = pair
    assert np.array_equal(ours.areas, stock.areas)
    boxes = ours.get_bboxes(HorizontalBoxes)
    assert type(boxes) is HorizontalBoxes
    assert torch.equal(boxes.tensor, stock.get_bboxes("hbox").tensor)
    assert boxes.tensor.dtype == torch.float32
    assert np.array_equal(ours.foreground(), stock.masks.any(axis=0))


@quick
@given(pair=mask_pairs(counts=st.integers(1, 9)), data=st.data())
def test_indexing_when_any_kind_of_index_then_equals_bitmaps(pair, data):
    ours, stock = pair
    positions = st.integers(-len(ours), len(ours) - 1)
    picked = data.draw(st.lists(positions, max_size=12))
    flags = data.draw(st.lists(st.booleans(), min_size=len(ours), max_size=len(ours)))
    for index in (
        data.draw(positions),
        data.draw(st.slices(len(ours))),
        np.array(picked, dtype=np.int64),
        torch.tensor(picked, dtype=torch.int64),
        torch.tensor(flags, dtype=torch.bool),
        np.array(flags, dtype=bool),
        np.int64(0),
    ):
        picks = index.numpy() if isinstance(index, torch.Tensor) else index
        assert_same(ours[index], stock[picks])  # stock takes a bool tensor for integers
        assert ours[index].layers is ours.layers
    assert len(ours[[]]) == 0
    with pytest.raises(IndexError):
        ours[len(ours)]


@quick
@given(pair=mask_pairs())
def test_iteration_and_tensors_when_any_masks_then_equal_bitmaps(pair):
    ours, stock = pair
    assert all(map(np.array_equal, ours, stock))
    assert len(list(ours)) == len(stock)
    assert torch.equal(ours.to_tensor(torch.float32, "cpu"), stock.to_tensor(torch.float32, "cpu"))
    assert np.array_equal(ours.to_bitmap().masks, stock.masks)
    assert ours.to_ndarray().dtype == np.uint8


@quick
@given(seed=st.integers(0, 999), counts=st.lists(COUNTS, min_size=1, max_size=4))
def test_cat_when_images_differ_then_equals_bitmaps(seed, counts):
    rng = np.random.default_rng(seed)
    parts = [draw_masks(rng, count, 13, 17) for count in counts]
    joined = LabelMapMasks.cat([*parts, parts[0][::2]])
    expected = BitmapMasks.cat([as_bitmaps(part) for part in [*parts, parts[0][::2]]])
    assert_same(joined, expected)


def test_cat_when_masks_share_layers_then_the_result_shares_them_too():
    masks = LabelMapMasks.random(5, rng=0)
    assert LabelMapMasks.cat([masks[:2], masks[4]]).layers is masks.layers


def test_cat_when_nothing_or_sizes_differ_then_says_so():
    with pytest.raises(ValueError, match="no masks"):
        LabelMapMasks.cat([])
    with pytest.raises(ValueError, match="different sizes"):
        LabelMapMasks.cat([LabelMapMasks.random(), LabelMapMasks.random(height=9)])


def test_instance_data_when_indexed_then_carries_the_masks_along():
    masks = LabelMapMasks.random(6, rng=0)
    data = InstanceData(masks=masks, labels=torch.arange(6))
    picked = data[torch.tensor([4, 1])]
    assert picked.masks.label_ids.tolist() == [5, 2]
    assert picked.masks.layers is masks.layers
    assert len(data[torch.zeros(6, dtype=torch.bool)].masks) == 0


@quick
@given(pair=mask_pairs(), seed=st.integers(0, 99))
def test_erase_when_a_region_is_covered_then_masks_lose_its_pixels(pair, seed):
    ours, stock = pair
    region = np.random.default_rng(seed).random((ours.height, ours.width)) < 0.4
    before = ours.layers.copy()
    expected = BitmapMasks(stock.masks * ~region, ours.height, ours.width)
    assert_same(ours.erase(region), expected)
    assert np.array_equal(ours.layers, before)


def test_crop_when_taken_then_copies_no_pixel():
    masks = LabelMapMasks.random(5, rng=0)
    assert np.shares_memory(masks.crop(np.array([3, 4, 9, 9])).layers, masks.layers)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda masks: pickle.loads(pickle.dumps(masks))])
def test_copies_when_sent_to_a_worker_then_are_equal(copier):
    masks = LabelMapMasks.random(5, rng=0).crop(np.array([3, 4, 9, 9]))
    assert_same(copier(masks), as_bitmaps(masks))


def test_geometry_when_filling_is_not_background_then_says_so():
    masks = LabelMapMasks.random()
    shape = (32, 32)
    for attempt in (
        lambda: masks.pad((40, 40), pad_val=255),
        lambda: masks.translate(shape, 3, border_value=1),
        lambda: masks.rotate(shape, 3, border_value=1),
        lambda: masks.shear(shape, 3, border_value=1),
    ):
        with pytest.raises(ValueError, match="pass 0"):
            attempt()


def test_geometry_when_the_size_does_not_fit_then_says_so():
    masks = LabelMapMasks.random()
    with pytest.raises(ValueError, match="do not fit"):
        masks.pad((40, 31))
    with pytest.raises(ValueError, match="keeps the size"):
        masks.rotate((40, 40), 3)
    with pytest.raises(ValueError, match="must be an array"):
        masks.crop([0, 0, 3, 3])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 2), dtype=int), [], []), "three-dimensional integer"),
        ((np.zeros((1, 2, 2)), [], []), "three-dimensional integer"),
        ((np.zeros((1, 2, 2), dtype=int), [0], []), "needs one of both"),
        ((np.zeros((1, 2, 2), dtype=int), [1], [1]), "outside the 1"),
        ((np.zeros((1, 2, 2), dtype=int), [0], [0]), "not positive"),
        ((np.full((1, 2, 2), 2**31), [0], [1]), "renumber"),
    ],
)
def test_construction_when_parts_do_not_fit_then_says_so(arguments, message):
    with pytest.raises(ValueError, match=message):
        LabelMapMasks(*arguments)


# ---- mask targets -------------------------------------------------------------------------------

coordinates = st.floats(-15, 60, width=32) | st.integers(-3, 45).map(float) | st.just(0.5)
lengths = st.sampled_from([0.0, 0.25, 1.0, 300.0]) | st.floats(0, 60, width=32)


@st.composite
def rois(draw) -> np.ndarray:
    corners = draw(st.lists(st.tuples(coordinates, coordinates, lengths, lengths), max_size=6))
    boxes = np.array(corners, dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


@settings(max_examples=200, deadline=None)
@given(
    pair=mask_pairs(),
    boxes=rois(),
    out_shape=st.sampled_from([(28, 28), (7, 14), (1, 1), (3, 28)]),
    dtype=st.sampled_from([np.float32, np.float64]),
    data=st.data(),
)
def test_mask_targets_when_rois_lie_anywhere_then_equal_bitmaps(
    device, pair, boxes, out_shape, dtype, data
):
    ours, stock = pair
    boxes = boxes.astype(dtype)
    picks = st.integers(0, max(len(ours) - 1, 0))
    inds = np.array(data.draw(st.lists(picks, min_size=len(boxes), max_size=len(boxes))), dtype=int)
    asked = {"bboxes": boxes, "out_shape": out_shape, "inds": inds, "device": device}
    got = ours.crop_and_resize(**asked, binarize=False).to_ndarray()
    expected = stock.crop_and_resize(**asked, binarize=False).to_ndarray()
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    hard = ours.crop_and_resize(**asked).to_ndarray()
    clear = np.abs(expected.astype(float) - 0.5) > 1e-4
    assert np.array_equal(hard[clear], stock.crop_and_resize(**asked).to_ndarray()[clear])


@pytest.mark.parametrize("tensors", [False, True])
def test_mask_targets_when_the_image_is_large_then_equal_bitmaps(device, tensors):
    rng = np.random.default_rng(3)
    ours = draw_masks(rng, 40, 700, 900)
    stock = as_bitmaps(ours)
    boxes = rng.uniform(-30, 870, size=(200, 4)).astype(np.float32)
    boxes[:, 2:] = boxes[:, :2] + rng.uniform(0.1, 90, size=(200, 2))
    seen = stock.get_bboxes("hbox").numpy()
    boxes[:40] = seen + rng.uniform(-3, 3, size=(40, 4)).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    inds = rng.integers(0, 40, size=200)
    inds[:40] = np.arange(40)
    if tensors:
        boxes, inds = (torch.from_numpy(given).to(device) for given in (boxes, inds))
    got = ours.crop_and_resize(boxes, (28, 28), inds, device, binarize=False).to_ndarray()
    expected = stock.crop_and_resize(boxes, (28, 28), inds, device, binarize=False).to_ndarray()
    assert expected.max() == 1
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("roi", "mean"),
    [
        ((8, 2, 9, 3), 1.0),  # its one sample lies at x = 8, the width: the last that counts
        ((-1, 2, 0, 3), 1.0),  # and here at x = -1, the first that counts
        ((8.25, 2, 9.25, 3), 0.0),
        ((2, 2, 4, 3), 0.5),  # exactly at the threshold, which belongs to the mask
    ],
)
def test_mask_targets_when_samples_meet_a_limit_then_equal_bitmaps(roi, mean):
    layers = np.ones((1, 6, 8), dtype=np.int32)
    layers[:, :, 3:5] = 0
    ours = LabelMapMasks(layers, [0], [1])
    asked = (np.array([roi], dtype=np.float32), (1, 1), np.array([0]), "cpu")
    for masks in (ours, as_bitmaps(ours)):
        assert masks.crop_and_resize(*asked, binarize=False).masks.item() == mean
        assert masks.crop_and_resize(*asked).masks.item() == (mean >= 0.5)


def test_mask_targets_when_a_roi_is_inside_out_then_are_empty():
    masks = LabelMapMasks(np.ones((1, 9, 9), dtype=np.int32), [0], [1])
    targets = masks.crop_and_resize(np.array([[7.0, 7, 2, 2]]), (4, 4), np.array([0]), "cpu")
    assert not targets.to_ndarray().any()


def test_mask_targets_when_a_roi_is_not_finite_then_says_so():
    masks = LabelMapMasks(np.ones((1, 9, 9), dtype=np.int32), [0], [1])
    with pytest.raises(ValueError, match="not finite"):
        masks.crop_and_resize(np.array([[7.0, 7, np.nan, 9]]), (4, 4), np.array([0]), "cpu")


def test_masks_and_targets_when_the_nest_is_dense_then_equal_bitmaps(real_data):
    paths = sorted((real_data / "hw3" / "train" / "hgsc_nest_1500").glob("class*.tif"))
    layers = np.stack([tifffile.imread(path) for path in paths]).astype(np.int32)
    found = [np.unique(layer[layer > 0]) for layer in layers]
    layer_inds = np.repeat(np.arange(len(layers)), [len(ids) for ids in found])
    ours = LabelMapMasks(layers, layer_inds, np.concatenate(found))
    assert len(ours) == 1294
    assert ours.areas.sum() == (layers > 0).sum()
    ours = ours[::40].resize((1111, 1234)).flip("diagonal")
    stock = as_bitmaps(LabelMapMasks(layers, layer_inds, np.concatenate(found))[::40])
    stock = stock.resize((1111, 1234)).flip("diagonal")
    assert_same(ours, stock)
    boxes = ours.get_bboxes()
    assert torch.equal(boxes.tensor, stock.get_bboxes("hbox").tensor)
    rois = boxes.numpy() + np.random.default_rng(0).uniform(-4, 4, size=boxes.shape)
    rois = np.concatenate([rois[:, :2], np.maximum(rois[:, 2:], rois[:, :2])], axis=1)
    asked = {"out_shape": (28, 28), "inds": np.arange(len(ours)), "device": "cpu"}
    soft = stock.crop_and_resize(rois.astype(np.float32), **asked, binarize=False).masks
    got = ours.crop_and_resize(rois.astype(np.float32), **asked).masks
    clear = np.abs(soft - 0.5) > 1e-4
    assert np.array_equal(got[clear], (soft >= 0.5)[clear])
