"""The brightness of an image is that of its background."""

import numpy as np
import pytest

from cellseg.images import ArraySource
from cellseg.images.brightness import measure_brightness


@pytest.mark.parametrize("shape", [(1, 1), (30, 500), (700, 300)])
@pytest.mark.parametrize("ground", [0, 12, 230])
def test_brightness_when_cells_lie_on_a_ground_then_is_the_grounds(shape, ground):
    image = np.full((*shape, 3), ground, np.uint8)
    image[::10, ::4] = 255 - ground
    image[0, 0] = ground
    assert measure_brightness(ArraySource(image)) == ground


def test_brightness_when_most_was_not_scanned_then_is_that_of_the_tissue():
    image = np.zeros((900, 900, 3), np.uint8)
    image[:200] = np.random.default_rng(0).integers(200, 240, (200, 900, 3))
    assert measure_brightness(ArraySource(image)) == pytest.approx(220, abs=5)
