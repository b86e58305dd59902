"""Rings of numbers and the masks that they enclose."""

import numpy as np
import pytest

from cellseg.structures.runs import Crop
from cellseg.web.rings import decode_rings, encode_crop_rings, measure_rings


def test_rings_when_filled_then_the_pixels_are_those_they_were_drawn_around() -> None:
    source = np.random.default_rng(0)
    for _ in range(200):
        height, width = source.integers(1, 9, 2).tolist()
        mask = source.random((height, width)) < 0.6
        if not mask.any():
            continue
        rings = encode_crop_rings(Crop(mask, 5, 7))
        crop = decode_rings(rings)
        whole = np.zeros((20, 20), bool)
        rows, columns = crop.mask.shape
        whole[crop.y0 : crop.y0 + rows, crop.x0 : crop.x0 + columns] = crop.mask
        np.testing.assert_array_equal(whole[7 : 7 + height, 5 : 5 + width], mask)
        assert whole.sum() == mask.sum()
        box, area = measure_rings(rings)
        assert area == mask.sum()
        assert box == (crop.x0, crop.y0, crop.x0 + columns, crop.y0 + rows)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 1)])
def test_ring_when_a_rectangle_then_it_has_three_steps(shape: tuple[int, int]) -> None:
    (ring,) = encode_crop_rings(Crop(np.ones(shape, bool), 2, 3))
    assert len(ring) == 5
    assert measure_rings([ring])[1] == shape[0] * shape[1]


def test_rings_when_a_cell_has_a_hole_then_it_is_one_of_its_rings() -> None:
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    rings = encode_crop_rings(Crop(mask, 0, 0))
    assert len(rings) == 2
    assert measure_rings(rings) == ((0, 0, 5, 5), 24)
