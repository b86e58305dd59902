"""The resize factor stays within its limits, whatever the image's size."""

import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes

from cellseg.datasets.transforms_resize import LimitedResize, limited_size
from cellseg.structures.label_map_masks import LabelMapMasks


def make_results(height: int, width: int, num_masks: int = 3) -> dict:
    masks = LabelMapMasks.random(num_masks, height, width, rng=0)
    return {
        "img": np.zeros((height, width, 3), dtype=np.uint8),
        "img_shape": (height, width),
        "gt_bboxes": masks.get_bboxes(HorizontalBoxes),
        "gt_masks": masks,
    }


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((33, 20), (82, 50)), ((256, 512), (512, 1024)), ((1500, 1000), (1500, 1000))],
)
def test_image_when_resized_then_its_factor_is_limited(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    results = TRANSFORMS.build(dict(type="LimitedResize", scale=(1024, 1024)))(make_results(*shape))
    assert results["img_shape"] == expected
    assert limited_size(*shape, (1024, 1024)) == expected
    assert (results["gt_masks"].height, results["gt_masks"].width) == expected
    assert results["gt_bboxes"].tensor[:, 2].max() <= expected[1]
    assert results["scale_factor"] == pytest.approx(
        (expected[1] / shape[1], expected[0] / shape[0])
    )


def test_jitter_when_seeded_alike_then_alike_and_within_its_range() -> None:
    resize = LimitedResize((64, 64), (1.0, 1.0), ratio_range=(0.5, 2.0))
    sides = []
    for seed in [*range(20), 0]:
        np.random.seed(seed)
        sides.append(resize(make_results(100, 100))["img_shape"][0])
    assert sides[0] == sides[-1]
    assert len(set(sides)) > 10
    assert 50 <= min(sides) < 80 < 140 < max(sides) <= 200


@pytest.mark.parametrize("bad", [(0.0, 1.0), (2.0, 1.0)])
def test_range_when_out_of_order_then_error(bad: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="LimitedResize needs ranges"):
        LimitedResize((64, 64), factor_range=bad)
