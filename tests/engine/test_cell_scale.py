"""One setting makes the pipelines of all data sets."""

import pytest
from mmengine.config import Config

from cellseg.datasets.resize_factors import find_resize_factors
from cellseg.engine.cell_scale import find_crop_size, make_train_pipeline, set_cell_scale
from cellseg.errors import CellsegError


def make_config(**settings) -> Config:
    leaf = dict(type="CellDataset", pipeline=[])
    return Config(
        dict(
            meta_keys=("img_id",),
            train_dataloader=dict(dataset=dict(type="RepeatDataset", dataset=dict(leaf))),
            val_dataloader=dict(dataset=dict(leaf)),
            test_dataloader=dict(dataset=dict(leaf, pipeline=[dict(type="Own")])),
            **settings,
        )
    )


def test_scale_when_set_then_fills_empty_pipelines_only():
    config = make_config(cell_scale=1.6)
    set_cell_scale(config)
    assert config.train_dataloader.dataset.dataset.pipeline[0].type == "LoadCellImage"
    assert config.val_dataloader.dataset.pipeline[1].scale_factor == 1.6
    assert [step.type for step in config.test_dataloader.dataset.pipeline] == ["Own"]


def test_scale_when_absent_then_nothing_changes():
    config = make_config()
    set_cell_scale(config)
    assert config.val_dataloader.dataset.pipeline == []


@pytest.mark.parametrize("scale", [0, -1, "big", True])
def test_scale_when_no_number_above_zero_then_one_sentence(scale):
    with pytest.raises(CellsegError, match="must be a number above 0"):
        set_cell_scale(make_config(cell_scale=scale))


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_crop_always_fills_the_network_input_at_the_smallest_factor(scale):
    pipeline = make_train_pipeline(scale, 320, ())
    steps = {step["type"]: step for step in pipeline}
    resize, raw_px = steps["LimitedResize"], pipeline[2]["crop_size"][0]
    assert raw_px * resize["factor_range"][0] * min(resize["ratio_range"]) >= 320 - 1


@pytest.mark.parametrize("size", [(100, 80), (900, 900)])
def test_image_when_smaller_than_the_crop_then_enlarged_as_others(size):
    found = find_resize_factors(make_train_pipeline(1.6, 320, ()), *size)
    assert found == pytest.approx((1.28, 2.0), rel=0.01)


def test_crop_size_when_the_network_pads_to_one_then_is_that():
    augments = [dict(type="BatchFixedSizePad", size=(256, 192))]
    assert find_crop_size({"data_preprocessor": {"batch_augments": augments}}) == 256
    assert find_crop_size({}) == 320
