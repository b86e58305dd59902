"""Pictures of the report: whole images and crops of cells."""

import base64

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellseg.report.pictures import (
    CROP_PX,
    LARGE_PX,
    choose_window,
    draw_crop,
    draw_panel,
    encode_picture,
    touches_window,
)
from cellseg.structures.runs import Crop

GREEN = (0, 210, 60)
GREY = np.full((40, 60, 3), 120, dtype=np.uint8)
CELL = Crop(np.ones((10, 10), bool), 20, 10)


def decode(uri: str) -> np.ndarray:
    """Decode a data URI to RGB."""
    data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def test_encode_picture_when_there_is_room_then_colors_and_size_stay() -> None:
    image = GREY.copy()
    image[:, :30] = GREEN
    picture = encode_picture(image, "half green", 100_000)
    assert (picture.width, picture.height) == (60, 40)
    decoded = decode(picture.uri).astype(int)
    assert abs(decoded[:, :26] - GREEN).max() < 12


@pytest.mark.parametrize("max_bytes", [200_000, 40_000, 9_000])
def test_encode_picture_when_noise_does_not_fit_then_it_is_made_to(max_bytes: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (960, 700, 3), dtype=np.uint8)
    picture = encode_picture(noise, "noise", max_bytes)
    assert len(base64.b64decode(picture.uri.partition(",")[2])) <= max_bytes
    assert (picture.width, picture.height) == (700, 960)


def test_draw_panel_when_a_cell_is_filled_then_its_inside_takes_the_color() -> None:
    labels = np.array([0])
    plain, filled = (
        draw_panel(GREY, [CELL], labels, np.array([fill]), [GREEN]) for fill in (False, True)
    )
    scale = plain.shape[0] / 40
    y, x = round(15 * scale), round(25 * scale)
    assert plain[y, x].tolist() == [120, 120, 120]
    assert filled[y, x, 1] > 150
    assert filled[y, x, 0] < 80
    assert filled[5, 5].tolist() == [120, 120, 120]
    assert (plain == GREEN).all(axis=2).any()


def test_draw_panel_when_the_image_is_large_or_empty_then_it_fits() -> None:
    vast = np.zeros((1000, 2000, 3), np.uint8)
    panel = draw_panel(vast, [], np.zeros(0, int), np.zeros(0, bool), [GREEN])
    assert panel.shape == (LARGE_PX // 2, LARGE_PX, 3)
    hidden = Crop(np.zeros((0, 0), bool), 0, 0)
    draw_panel(GREY, [hidden], np.array([-1]), np.array([True]), [GREEN])


sides = st.integers(1, 200)


@given(sides, sides, st.integers(0, 199), st.integers(0, 199), sides, sides)
def test_choose_window_when_a_cell_is_anywhere_then_the_window_holds_it(h, w, x, y, dx, dy) -> None:
    x1, y1 = min(x, w - 1), min(y, h - 1)
    box = (x1, y1, min(x1 + dx, w), min(y1 + dy, h))
    left, top, side = choose_window(box, h, w)
    assert left >= 0
    assert top >= 0
    assert left <= box[0]
    assert top <= box[1]
    assert box[2] <= left + side
    assert box[3] <= top + side
    assert side > w or left + side <= w
    assert side > h or top + side <= h


def test_draw_crop_when_the_window_leaves_the_image_then_the_rest_is_grey() -> None:
    other = Crop(np.ones((6, 6), bool), 30, 20)
    crop = draw_crop(np.zeros((40, 60, 3), np.uint8), (0, 0, 80), CELL, GREEN, [other])
    assert crop.shape == (CROP_PX, CROP_PX, 3)
    assert crop[-2, -2].tolist() == [128, 128, 128]
    assert (crop == GREEN).all(axis=2).any()
    assert (crop > 150).all(axis=2).any()


def test_touches_window_when_boxes_lie_around_then_only_those_inside_count() -> None:
    boxes = np.array([[0, 0, 10, 10], [10, 10, 20, 20], [29, 29, 40, 40], [30, 30, 40, 40]])
    assert touches_window(boxes, (10, 10, 20)).tolist() == [False, True, True, False]
    assert touches_window(np.zeros((0, 4)), (0, 0, 5)).shape == (0,)
