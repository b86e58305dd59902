"""Factors that are read off a pipeline's settings, compared with what the pipeline does."""

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope

from cellseg.datasets.resize_factors import find_constant_factor, find_resize_factors


def run(pipeline: list[dict], height: int, width: int) -> float:
    init_default_scope("mmdet")
    entry = {"img": np.zeros((height, width, 3), np.uint8), "img_shape": (height, width)}
    return Compose(pipeline)(entry)["img"].shape[0] / height


@pytest.mark.parametrize("size", [(300, 500), (900, 700), (64, 64)])
@pytest.mark.parametrize(
    "step",
    [
        {"type": "Resize", "scale": (1024, 1024), "keep_ratio": True},
        {"type": "Resize", "scale": (600, 900), "keep_ratio": True},
        {"type": "Resize", "scale_factor": 1.6, "keep_ratio": True},
        {"type": "LimitedResize", "scale": (512, 512)},
    ],
)
def test_factor_when_nothing_is_random_then_is_the_pipelines(step, size):
    found = find_resize_factors([step], *size)
    assert found is not None
    assert found.low == found.high
    assert found.low == pytest.approx(run([step], *size), rel=0.01)


def test_factors_when_random_then_bound_every_draw():
    pipeline = [
        {"type": "RandomCrop", "crop_size": (100, 100)},
        {"type": "RandomResize", "scale": (160, 160), "ratio_range": (0.5, 2), "keep_ratio": True},
    ]
    assert find_resize_factors(pipeline, 300, 200) == pytest.approx((0.8, 3.2))


def test_factors_when_not_understood_then_are_none():
    assert find_resize_factors([{"type": "Resize", "scale": (9, 9)}], 300, 200) is None
    assert find_resize_factors([{"type": "RandomChoiceResize", "scales": [9]}], 300, 200) is None
    assert find_resize_factors([{"type": "PackDetInputs"}], 300, 200) == (1.0, 1.0)


def test_constant_factor_when_it_depends_on_the_image_then_is_none():
    assert find_constant_factor([{"type": "Resize", "scale_factor": 2, "keep_ratio": True}]) == 2.0
    step = {"type": "Resize", "scale": (512, 512), "keep_ratio": True}
    assert find_constant_factor([step]) is None
    step = {"type": "RandomResize", "scale": (9, 9), "ratio_range": (1, 2), "keep_ratio": True}
    assert find_constant_factor([step]) is None
