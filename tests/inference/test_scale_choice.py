"""Which scale is chosen, and what is said of it."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from cellseg.engine.model_record import ModelRecord
from cellseg.errors import CellsegError
from cellseg.images import ArraySource
from cellseg.inference.scale_choice import (
    ScaleOptions,
    choose_scale,
    round_scale,
    settle_scale,
    warn_of_other_ground,
    warn_of_other_sizes,
)

from .test_cell_size import draw_disks, find_like_trained

RECORD = ModelRecord(
    ("nucleus",),
    pixel_size_um=0.25,
    test_scale=1.6,
    train_scale=(1.0, 2.0),
    diameters_px={"25": 20.0, "50": 30.0, "75": 40.0},
)
DISKS = draw_disks(19, 600)  # as large as in training: 30 px for the network


def never(image, scale):
    raise AssertionError("the network was asked")


@pytest.mark.parametrize(
    ("options", "record", "constant", "factor", "reason"),
    [
        ({"scale": 1.3}, RECORD, 1.6, 1.3, "given"),
        ({"scale": 1.3, "diameter_px": 9}, None, None, 1.3, "given"),
        ({"diameter_px": 20}, RECORD, 1.6, 1.5, "cells of 20 px"),
        ({"is_resampled": True}, RECORD, 1.6, 1.6, "as in training"),
        ({}, None, 1.6, 1.6, "nothing is recorded"),
        ({}, None, None, None, "nothing is recorded"),
        ({}, ModelRecord(("a",)), 1.6, 1.6, "unknown: pixel size"),
    ],
)
def test_scale_when_it_does_not_depend_on_the_image_then_is_settled(
    options, record, constant, factor, reason
):
    choice = settle_scale(ScaleOptions(**options), record, constant)
    assert choice is not None
    assert choice.factor == pytest.approx(factor, rel=0.02) if factor else choice.factor is None
    assert reason in choice.reason
    assert choice.describe().startswith("scale ")


def test_scale_when_it_depends_on_the_image_then_is_not_settled():
    assert settle_scale(ScaleOptions(), RECORD, 1.6) is None


def test_diameter_when_the_models_is_unknown_then_one_sentence():
    with pytest.raises(CellsegError, match="--diameter needs a model"):
        settle_scale(ScaleOptions(diameter_px=20), None, 1.6)
    with pytest.raises(CellsegError, match="The diameter of the cells"):
        ScaleOptions(diameter_px=0)


@pytest.mark.parametrize(("pixel_size", "factor"), [(0.25, 1.6), (0.5, 3.2), (0.125, 0.8)])
def test_scale_when_both_pixel_sizes_are_known_then_is_their_ratio(pixel_size, factor):
    choice = choose_scale(ArraySource(DISKS, pixel_size), never, RECORD, 1.6)
    assert choice.factor == pytest.approx(factor)
    assert "um per pixel" in choice.reason


@pytest.mark.parametrize(
    ("diameter", "factor"), [(19, 1.6), (21, 1.6), (29, 1.6), (40, 1.25), (9, 3.33)]
)
def test_scale_when_the_pixel_size_is_unknown_then_follows_from_the_cells(diameter, factor):
    source = ArraySource(draw_disks(diameter, 600))
    choice = choose_scale(source, find_like_trained, RECORD, 1.6)
    assert choice.factor == pytest.approx(factor, rel=0.1)
    assert ("as in training" in choice.reason) == (factor == 1.6)
    assert "its pixel size is unknown" in choice.reason


def test_scale_when_the_pixel_size_cannot_be_true_then_is_not_believed():
    choice = choose_scale(ArraySource(DISKS, 264.6), find_like_trained, RECORD, 1.6)
    assert choice.factor == 1.6
    assert "implausible" in choice.reason


def test_scale_when_there_is_nothing_to_measure_then_is_that_of_training():
    blank = ArraySource(np.full((50, 50, 3), 240, np.uint8))
    choice = choose_scale(blank, find_like_trained, RECORD, None)
    assert choice.factor is None
    assert "no cells to measure" in choice.reason


@pytest.mark.parametrize("scale", [0.1, 0.33, 1.0, 1.6, 1.7, 3.9, 8.0])
def test_scale_when_rounded_then_strides_are_whole_pixels(scale):
    rounded = round_scale(scale)
    assert 64 / rounded == pytest.approx(round(64 / rounded))
    assert rounded == pytest.approx(scale, rel=0.07)


def test_cells_when_of_other_sizes_than_trained_then_a_warning(listen):
    told = listen("cellseg.inference.scale_choice", logging.WARNING)
    cells = find_like_trained(DISKS, 1.6)
    assert warn_of_other_sizes(cells, 1.6, RECORD, "a.tif") is None
    assert warn_of_other_sizes(cells, None, RECORD, "a.tif") is None
    assert warn_of_other_sizes(cells, 8.0, None, "a.tif") is None
    assert warn_of_other_sizes(cells[:3], 8.0, RECORD, "a.tif") is None
    assert told == []
    text = warn_of_other_sizes(cells, 8.0, RECORD, "a.tif")
    assert told == [text]
    assert "a.tif" in str(text)
    assert "12 to 50 px" in str(text)


@pytest.mark.parametrize(
    ("ground", "trained", "said"),
    [
        (10, 215.0, "dark background, like fluorescence"),
        (220, 12.0, "light background, like stained tissue"),
        (220, 215.0, None),
        (100, 215.0, None),
        (10, 12.0, None),
        (10, None, None),
    ],
)
def test_image_when_its_ground_is_unlike_the_trainings_then_a_warning(ground, trained, said):
    source = ArraySource(np.full((40, 40, 3), ground, np.uint8))
    text = warn_of_other_ground(source, replace(RECORD, brightness=trained), "a.tif")
    assert (text is None) == (said is None)
    if text is not None and said is not None:
        assert text.startswith("a.tif has a")
        assert said in text
