"""The record of a model: written as plain data, read back, refused where it cannot be."""

import json
import math
from dataclasses import replace

import pytest

from cellseg.engine.model_record import (
    RECORD_KEY,
    ModelRecord,
    RecordError,
    find_record,
    read_record,
    to_plain_data,
)

RECORD = ModelRecord(
    classes=("nucleus", "other"),
    channel_order="rgb",
    palette=((1, 2, 3), (4, 5, 6)),
    normalization={"mean": [127.0, 127.0, 127.0]},
    pixel_size_um=0.25,
    test_scale=1.6,
    train_scale=(1.0, 2.0),
    diameters_px={"5": 14.0, "50": 29.5, "95": 57.4},
    brightness=215.5,
    num_images=3,
    num_cells=70,
    network={"type": "MaskRCNN", "roi_head": {"num_classes": 2}},
    pipeline=({"type": "Resize", "scale_factor": 1.6, "keep_ratio": True},),
)


def test_record_when_written_as_json_then_comes_back():
    assert read_record(json.loads(json.dumps(RECORD.to_dict()))) == RECORD
    assert RECORD.list_unknown() == []


def test_record_when_little_is_known_then_says_what_is_not():
    record = read_record(ModelRecord(("nucleus",)).to_dict())
    assert record.median_diameter_px is None
    assert len(record.list_unknown()) == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 99}, "version 99"),
        ({"classes": []}, "names no classes"),
        ({"classes": "nucleus"}, "names no classes"),
        ({"classes": ["a\x1b[2J"]}, "cannot be shown"),
        ({"channel_order": "xyz"}, "channel order"),
        ({"pixel_size_um": -1}, "pixel_size_um"),
        ({"test_scale": "big"}, "test_scale"),
        ({"test_scale": 1e6}, "test_scale"),
        ({"test_scale": 1e-9}, "test_scale"),
        ({"train_scale": [1]}, "train_scale"),
        ({"train_scale": [1, 1e6]}, "train_scale"),
        ({"diameters_px": {"50": 0}}, "diameters_px"),
        ({"diameters_px": {"50": 1e6}}, "diameters_px"),
        ({"network": [1]}, "network"),
        ({"normalization": [1]}, "normalization"),
        ({"pipeline": ["Resize"]}, "pipeline"),
    ],
)
def test_record_when_impossible_then_is_refused(change, reason):
    with pytest.raises(RecordError, match=reason):
        read_record({**RECORD.to_dict(), **change})


@pytest.mark.parametrize("value", [10**400, float("nan"), -1, True, "x"])
def test_record_when_its_brightness_is_no_gray_level_then_unknown(value):
    assert read_record({**RECORD.to_dict(), "brightness": value}).brightness is None


def test_record_of_a_checkpoint_when_damaged_then_is_left_out_with_a_warning(listen):
    told = listen("cellseg.engine.model_record")
    assert find_record({"meta": {RECORD_KEY: RECORD.to_dict()}}, "a.pth") == RECORD
    assert find_record({"state_dict": {}}, "a.pth") is None
    assert told == []
    assert find_record({"meta": {RECORD_KEY: {"version": 1}}}, "a.pth") is None
    assert "a.pth" in told[0]


def test_plain_data_when_settings_hold_objects_then_are_refused():
    assert to_plain_data({"a": (1, [2.5, None, "x"])}) == {"a": [1, [2.5, None, "x"]]}
    for value in (object(), math.inf, {"a": {1, 2}}):
        with pytest.raises(RecordError):
            to_plain_data(value)


def test_usual_medians_reach_from_the_lower_quartile_to_the_enlarged_upper_one():
    sizes = {"25": 20.0, "50": 30.0, "75": 40.0}
    record = ModelRecord(("a",), test_scale=1.6, train_scale=(1.0, 2.0), diameters_px=sizes)
    assert record.usual_medians_px == pytest.approx((20, 50))
    assert replace(record, train_scale=None).usual_medians_px == pytest.approx((20, 40))
    assert ModelRecord(("a",)).usual_medians_px is None
