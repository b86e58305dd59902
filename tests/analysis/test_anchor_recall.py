"""Best anchors against brute force over mmdet's own anchor grid."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.registry import TASK_UTILS, TRANSFORMS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config

from cellseg.analysis.anchor_recall import (
    AnchorSetting,
    best_ious,
    list_cells,
    name_bands,
    read_setting,
    size_boxes,
    summarize,
    summarize_groups,
)
from cellseg.errors import CellsegError
from cellseg.structures.cells import Cells

CONFIGS = Path(__file__).parents[2] / "configs" / "cell"

SMALL: dict[str, Any] = {
    "type": "AnchorGenerator",
    "strides": [4, 8, 16],
    "base_sizes": [10, 24, 60],
    "scales": [1.0],
    "ratios": [0.25, 1.0, 2.0],
}


def make_config(generator: dict[str, Any], resize: dict[str, Any] | None) -> Config:
    """Make the parts of a config that decide about anchors."""
    steps = [{"type": "LoadCellImage"}, *([resize] if resize else []), {"type": "PackDetInputs"}]
    return Config(
        {
            "model": {
                "data_preprocessor": {"pad_size_divisor": 32},
                "rpn_head": {"anchor_generator": generator},
            },
            "test_dataloader": {"dataset": {"type": "CellDataset", "pipeline": steps}},
        }
    )


def brute_force(cells: Cells, generator: dict[str, Any], setting: AnchorSetting) -> Any:
    """Compare each box with every anchor of mmdet's grid."""
    built = TASK_UTILS.build(generator)
    best = []
    for box in cells.boxes.astype(np.float64):
        height, width = cells.height, cells.width
        new_h, new_w = setting.input_size(height, width)
        padded = [-(-side // 32) * 32 for side in (new_h, new_w)]
        scaled = box * np.array([new_w / width, new_h / height] * 2)
        sizes = [(-(-padded[0] // s[1]), -(-padded[1] // s[0])) for s in built.strides]
        anchors = torch.cat(built.grid_priors(sizes, dtype=torch.float64, device="cpu"))
        best.append(float(bbox_overlaps(torch.from_numpy(scaled)[None], anchors).max()))
    return np.array(best)


def draw_boxes(seed: int, count: int, sizes: tuple[int, int] = (100, 140)) -> Cells:
    """Draw boxes anywhere in images of one size, some reaching over their border."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-5, 130, (count, 2))
    sides = np.exp(rng.uniform(0, 4.5, (count, 2)))
    boxes = np.concatenate((corners, corners + sides), axis=1)
    return Cells(boxes, None, rng.integers(0, 2, count), None, *sizes)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(
        [
            SMALL,
            SMALL | {"scales": [0.5, 3.0]},
            SMALL | {"center_offset": 0.5},
            SMALL | {"strides": [(4, 8), (8, 4), (16, 16)]},
            {"type": "AnchorGenerator", "strides": [8, 64], "scales": [8], "ratios": [0.5, 1, 2]},
        ]
    ),
    st.sampled_from([None, 200, (90, 333)]),
)
def test_best_ious_when_boxes_are_random_then_equals_every_anchor_tried(
    seed: int, generator: dict[str, Any], scale: Any
) -> None:
    resize = scale and {"type": "Resize", "scale": scale, "keep_ratio": True}
    setting = read_setting(make_config(generator, resize), "x")
    boxes = draw_boxes(seed, 12)
    expected = brute_force(boxes, generator, setting)
    np.testing.assert_allclose(best_ious([boxes], setting), expected, atol=1e-6)


def test_best_ious_when_a_box_is_an_anchor_then_exactly_one() -> None:
    boxes = Cells(np.array([[3.0, 7, 13, 17]]), None, [0], None, 64, 64)
    setting = read_setting(make_config(SMALL, None), "x")
    assert best_ious([boxes], setting).tolist() == [1.0]
    far = Cells(np.array([[3e4, 7, 3e4 + 9, 17]]), None, [0], None, 64, 64)
    assert best_ious([far], setting).tolist() == [0.0]


def test_best_ious_when_there_are_more_boxes_than_a_block_then_each_gets_its_own() -> None:
    setting = read_setting(make_config(SMALL, None), "x")
    boxes = draw_boxes(0, 5000)
    parts = [boxes[:4090], boxes[4090:]]
    tail = best_ious(parts[1:], setting)
    np.testing.assert_array_equal(best_ious([boxes], setting)[4090:], tail)
    np.testing.assert_array_equal(best_ious(parts, setting)[4090:], tail)
    assert best_ious([boxes[:0]], setting).shape == best_ious([], setting).shape == (0,)


@pytest.mark.parametrize(
    ("resize", "expected"),
    [
        (None, (100, 200)),
        ({"scale": (1024, 1024), "keep_ratio": True}, (512, 1024)),
        ({"scale": (60, 50)}, (50, 60)),
        ({"scale_factor": 2.0}, (200, 400)),
        ({"scale_factor": (1.5, 0.5)}, (50, 300)),
        ({"scale_factor": (1.5, 0.5), "keep_ratio": True}, (50, 100)),
        ({"type": "LimitedResize", "scale": (1024, 1024)}, (250, 500)),
        ({"type": "LimitedResize", "scale": (60, 60), "ratio_range": (0.5, 2)}, (100, 200)),
    ],
)
def test_input_size_when_resized_then_as_the_pipeline_does(
    resize: dict[str, Any] | None, expected: tuple[int, int]
) -> None:
    step = resize and {"type": "Resize", **resize}
    setting = read_setting(make_config(SMALL, step), "x")
    assert setting.input_size(100, 200) == expected


def test_read_setting_when_the_config_does_not_fit_then_says_so() -> None:
    with pytest.raises(CellsegError, match=r"no model\.rpn_head\.anchor_generator"):
        read_setting(Config({"model": {}}), "x")
    odd = make_config(SMALL, {"type": "RandomResize", "scale": (9, 9)})
    with pytest.raises(CellsegError, match="resizes by RandomResize"):
        read_setting(odd, "x")
    bare = read_setting(make_config(SMALL, {"type": "Resize"}), "x")
    with pytest.raises(CellsegError, match="neither scale nor scale_factor"):
        bare.input_size(9, 9)


def test_list_cells_when_regions_are_ignored_then_left_out() -> None:
    cells = [
        {"bbox": [0, 0, 4, 9], "bbox_label": 1, "ignore_flag": 0},
        {"bbox": [0, 0, 5, 5], "bbox_label": -1, "ignore_flag": 1},
    ]
    images = list_cells([{"height": 20, "width": 30, "instances": cells}])
    assert size_boxes(images).tolist() == [6.0]
    assert [(i.labels.tolist(), i.height, i.width) for i in images] == [([1], 20, 30)]
    assert list_cells([{"height": 20, "width": 30, "instances": cells[1:]}]) == []


def test_summarize_groups_when_a_band_or_class_is_empty_then_its_figures_are_nan() -> None:
    boxes = np.array([[0.0, 0, 8, 8], [0, 0, 7, 7], [0, 0, 100, 100]])
    cells = Cells(boxes, None, [0, 0, 2], None, 128, 128)
    groups = summarize_groups([cells], np.array([0.7, 0.5, 0.2]), ["a", "b", "c"])
    assert groups["all"]["all cells"].recall_50 == pytest.approx(2 / 3)
    assert groups["all"]["all cells"].recall_70 == pytest.approx(1 / 3)
    assert [figures.num_boxes for figures in groups["class"].values()] == [2, 0, 1]
    assert groups["size"]["0-8 px"].mean_iou == 0.5
    assert groups["size"]["8-12 px"].mean_iou == 0.7
    assert groups["size"]["96+ px"].num_boxes == 1
    assert np.isnan(groups["class"]["b"].mean_iou)
    assert list(groups["size"]) == name_bands()
    assert summarize(np.zeros(0)).num_boxes == 0


@pytest.mark.parametrize("name", ["small-anchor", "default-anchor"])
def test_read_setting_when_given_the_headline_configs_then_their_anchors_are_read(
    name: str,
) -> None:
    setting = read_setting(Config.fromfile(CONFIGS / f"mask-rcnn_r101_{name}.py"), name)
    sides = [grid.shapes_xyxy[:, 2:] - grid.shapes_xyxy[:, :2] for grid in setting.grids]
    sizes = [float(np.sqrt(side.prod(axis=1)).mean()) for side in sides]
    expected = [16, 32, 48, 64, 96] if name == "small-anchor" else [32, 64, 128, 256, 512]
    assert sizes == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
@pytest.mark.parametrize("shape", [(61, 100), (1500, 1000)])
def test_read_setting_when_given_a_shipped_config_then_sizes_are_those_of_its_pipeline(
    path: Path, shape: tuple[int, int]
) -> None:
    config = Config.fromfile(path)
    step = next(s for s in config.test_dataloader.dataset.pipeline if "Resize" in s.type)
    resized = TRANSFORMS.build(step)({"img": np.zeros((*shape, 3), np.uint8)})
    assert read_setting(config, path.stem).input_size(*shape) == resized["img_shape"]
