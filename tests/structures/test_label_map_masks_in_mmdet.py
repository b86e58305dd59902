"""LabelMapMasks and BitmapMasks through mmdet's own pipeline parts, with the same random seed."""

import copy
import random
import re

import numpy as np
import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import TRANSFORMS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, mask_target
from mmdet.visualization import DetLocalVisualizer
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from cellseg.structures.label_map_masks import LabelMapMasks
from tests.structures.drawn_results import assert_same, draw_results

HEIGHT, WIDTH, NUM_CELLS = 90, 121, 40
SHORT, LONG = 61, 97

PIPELINES = {
    "resize by ratio": [{"type": "Resize", "scale": (SHORT, LONG), "keep_ratio": True}],
    "resize to a shape": [{"type": "Resize", "scale": (150, 77), "keep_ratio": False}],
    "random resize": [
        {"type": "RandomResize", "scale": (100, 90), "ratio_range": (0.5, 2), "keep_ratio": True}
    ],
    "flips": [
        {
            "type": "RandomFlip",
            "prob": [0.3, 0.3, 0.3],
            "direction": ["horizontal", "vertical", "diagonal"],
        }
    ],
    "crop": [{"type": "RandomCrop", "crop_size": (40, 50)}],
    "crop and find the boxes again": [
        {
            "type": "RandomCrop",
            "crop_size": (0.3, 0.6),
            "crop_type": "relative_range",
            "recompute_bbox": True,
            "allow_negative_crop": True,
        }
    ],
    "pad": [{"type": "Pad", "size_divisor": 32}],
    "filter": [
        {
            "type": "FilterAnnotations",
            "by_mask": True,
            "min_gt_mask_area": 20,
            "min_gt_bbox_wh": (3, 3),
        }
    ],
    "expand": [{"type": "Expand", "prob": 1.0, "ratio_range": (1, 2)}],
    "crop around boxes": [{"type": "MinIoURandomCrop"}],
    "rotate": [{"type": "Rotate", "prob": 1.0, "interpolation": "nearest"}],
    "shear": [{"type": "ShearX", "prob": 1.0, "interpolation": "nearest"}],
    "shear down": [{"type": "ShearY", "prob": 1.0, "interpolation": "nearest"}],
    "translate": [{"type": "TranslateX", "prob": 1.0, "interpolation": "nearest"}],
    "translate down": [{"type": "TranslateY", "prob": 1.0, "interpolation": "nearest"}],
}
PIPELINES["all at once"] = [
    *PIPELINES["random resize"],
    *PIPELINES["flips"],
    *PIPELINES["crop and find the boxes again"],
    *PIPELINES["filter"],
    *PIPELINES["pad"],
]


@pytest.fixture(autouse=True)
def _mmdet_scope():
    init_default_scope("mmdet")


def make_results(seed: int) -> tuple[dict, dict]:
    """Draw an image with its cells, once as label maps and once as bitmaps."""
    ours = draw_results(seed, HEIGHT, WIDTH, NUM_CELLS)
    return ours, copy.deepcopy(ours) | {"gt_masks": ours["gt_masks"].to_bitmap()}


def run(transforms: list[dict], results: dict, seed: int) -> dict | None:
    random.seed(seed)
    np.random.seed(seed)
    for config in transforms:
        results = TRANSFORMS.build(config)(results)
        if results is None:
            return None
    return results


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("seed", range(4))
def test_pipeline_when_masks_are_label_maps_then_results_equal_bitmaps(name, seed):
    ours, stock = make_results(seed)
    transforms = PIPELINES[name]
    assert_same(run(transforms, ours, seed), run(transforms, stock, seed))


@pytest.mark.parametrize("name", PIPELINES)
def test_pipeline_when_there_is_no_cell_then_results_equal_bitmaps(name):
    ours, stock = make_results(0)
    for results in (ours, stock):
        for key in ("gt_bboxes", "gt_bboxes_labels", "gt_ignore_flags", "gt_masks"):
            results[key] = results[key][np.zeros(0, dtype=np.int64)]
    try:
        expected = run(PIPELINES[name], stock, 1)
    except ValueError as error:  # MinIoURandomCrop takes the minimum over no boxes
        with pytest.raises(ValueError, match=re.escape(str(error))):
            run(PIPELINES[name], ours, 1)
    else:
        assert_same(run(PIPELINES[name], ours, 1), expected)


@pytest.mark.parametrize("kind", ["CachedMosaic", "CachedMixUp"])
def test_mixing_when_images_are_joined_then_results_equal_bitmaps(kind):
    config = {"type": kind, "img_scale": (100, 80), "prob": 1.0, "max_cached_images": 5}
    mixed = []
    for part in range(2):
        transform = TRANSFORMS.build(config)
        random.seed(0)
        np.random.seed(0)
        mixed.append([transform(make_results(seed)[part]) for seed in range(6)][-1])
    assert_same(*mixed)


@pytest.mark.parametrize("name", ["all at once", "crop"])
def test_batch_when_packed_and_preprocessed_then_mask_targets_equal_bitmaps(name):
    packing = [*PIPELINES[name], {"type": "PackDetInputs", "meta_keys": ("img_id", "img_shape")}]
    preprocessor = DetDataPreprocessor(
        mean=[0, 0, 0], std=[1, 1, 1], pad_mask=True, pad_size_divisor=32
    )
    batches = []
    for kind in range(2):
        packed = [run(packing, make_results(seed)[kind], seed) for seed in (5, 6)]
        data = {
            "inputs": [one["inputs"] for one in packed],
            "data_samples": [one["data_samples"] for one in packed],
        }
        batches.append(preprocessor(data, training=True)["data_samples"])
    for ours, stock in zip(*batches, strict=True):
        assert isinstance(ours.gt_instances.masks, LabelMapMasks)
        assert isinstance(stock.gt_instances.masks, BitmapMasks)
        for field in ("gt_instances", "ignored_instances"):
            got, expected = getattr(ours, field).masks, getattr(stock, field).masks
            assert np.array_equal(got.to_ndarray(), expected.to_ndarray())
        assert ours.gt_instances.masks.height == ours.batch_input_shape[0]
    rng = torch.Generator().manual_seed(0)
    proposals, inds = [], []
    for sample in batches[0]:
        boxes = sample.gt_instances.bboxes
        inds.append(torch.randint(len(boxes), (30,), generator=rng))
        proposals.append(boxes[inds[-1]] + 6 * torch.rand(30, 4, generator=rng) - 3)
        proposals[-1][:, 2:] = proposals[-1][:, 2:].maximum(proposals[-1][:, :2])
    targets = [
        mask_target(
            proposals,
            inds,
            [sample.gt_instances.masks for sample in batch],
            ConfigDict(mask_size=28, soft_mask_target=True),
        )
        for batch in batches
    ]
    assert targets[1].max() > 0.9
    torch.testing.assert_close(*targets, rtol=0, atol=1e-5)


def test_visualizer_when_masks_are_label_maps_then_draws_what_bitmaps_draw():
    drawn = []
    for results in make_results(1):
        sample = DetDataSample(
            gt_instances=InstanceData(
                bboxes=results["gt_bboxes"].tensor,
                labels=torch.from_numpy(results["gt_bboxes_labels"]),
                masks=results["gt_masks"],
            )
        )
        np.random.seed(0)
        visualizer = DetLocalVisualizer()
        visualizer.dataset_meta = {"classes": list("abcd"), "palette": "random"}
        visualizer.add_datasample("cells", results["img"], sample, draw_pred=False)
        drawn.append(visualizer.get_image())
    assert np.array_equal(*drawn)
    assert not np.array_equal(drawn[0], results["img"])
