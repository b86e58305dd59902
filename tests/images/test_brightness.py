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
