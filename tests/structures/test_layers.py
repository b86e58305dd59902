"""Layers keep their ids through every kind of move."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellseg.structures.layers import as_bytes, as_layers, from_bytes, warp_layer

LARGEST = np.iinfo(np.int32).max
LAYERS = hnp.arrays(
    np.int32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.sampled_from([0, 1, 255, 65_536, LARGEST]),
)


@settings(max_examples=50, deadline=None)
@given(layer=LAYERS, step=st.sampled_from([1, 2, -1]))
def test_bytes_when_turned_back_then_every_id_is_the_same(layer: np.ndarray, step: int) -> None:
    view = layer[:, ::step]
    assert as_bytes(view).shape == (*view.shape, 4)
    np.testing.assert_array_equal(from_bytes(as_bytes(view)), view)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64])
def test_layers_when_of_any_integer_type_then_int32_of_the_same_values(dtype: type) -> None:
    layers = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    held = as_layers(layers)
    assert held.dtype == np.int32
    np.testing.assert_array_equal(held, layers)


def test_layers_when_int32_already_then_not_copied() -> None:
    layers = np.zeros((1, 2, 3), np.int32)
    assert as_layers(layers) is layers
    assert as_layers(np.zeros((0, 2, 3), np.uint64)).shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (np.zeros((2, 3), np.int32), "not 2-dimensional int32"),
        (np.zeros((1, 2, 3)), "not 3-dimensional float64"),
        (np.full((1, 1, 1), LARGEST + 1, np.int64), "does not fit into int32"),
    ],
)
def test_layers_when_they_cannot_be_held_then_said_why(layers: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_layers(layers)


@settings(max_examples=40, deadline=None)
@given(layer=LAYERS, num_masks=st.integers(1, 6), angle=st.floats(-180, 180))
def test_warp_when_turned_then_each_id_covers_what_its_bitmap_would(
    layer: np.ndarray, num_masks: int, angle: float
) -> None:
    height, width = layer.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)

    def turn(image: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_NEAREST)

    warped = warp_layer(layer, turn, num_masks)
    assert warped.shape == layer.shape
    assert set(np.unique(warped)) <= {0, *np.unique(layer).tolist()}
    for number in np.unique(layer[layer > 0]).tolist():
        bitmaps = np.repeat((layer == number).astype(np.uint8)[..., None], num_masks, axis=2)
        expected = turn(bitmaps).reshape(height, width, num_masks)[..., 0] > 0
        np.testing.assert_array_equal(warped == number, expected)
