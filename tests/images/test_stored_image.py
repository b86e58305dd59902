from pathlib import Path

import numpy as np
import pytest

from cellseg.errors import CellDataError
from cellseg.images.image_source import ImageSize
from cellseg.images.stored_image import (
    PixelSize,
    check_declared_bytes,
    check_size,
    require_finite,
    settle_pixel_size,
)

PATH = Path("image.tif")


@pytest.mark.parametrize(
    ("x", "y", "side"),
    [(0.25, 0.25, 0.25), (0.25, 0.254, 0.2519921), (0.25, 0.26, None), (None, None, None)],
)
def test_side_is_that_of_a_square_of_equal_area_or_none(x, y, side):
    assert PixelSize(x, y).side_um == (None if side is None else pytest.approx(side))


@pytest.mark.parametrize(("x", "y"), [(0.001, 0.001), (0.25, 50), (352.8, 352.8), (0.0, 0.25)])
def test_size_that_no_image_of_cells_has_is_not_taken(x, y):
    size = settle_pixel_size(x, y, "the tags")
    assert size.x_um is None
    assert size.note.startswith("the tags give pixels of ")


def test_size_that_makes_sense_is_taken_with_its_origin():
    assert settle_pixel_size(0.25, 0.252, "the tags") == (0.25, 0.252, "the tags")


def test_declared_bytes_that_are_few_or_fit_the_file_are_accepted():
    check_declared_bytes(PATH, ImageSize(16384, 16384), 1, 1)
    check_declared_bytes(PATH, ImageSize(10**5, 10**5), 3, 10**8)
    with pytest.raises(CellDataError, match=r"image\.tif: declares 100000 x 100000 pixels"):
        check_declared_bytes(PATH, ImageSize(10**5, 10**5), 3, 5 * 10**7)


def test_size_beyond_the_limit_is_refused():
    check_size(PATH, ImageSize(10, 10), 100)
    with pytest.raises(CellDataError, match="limit of 99"):
        check_size(PATH, ImageSize(10, 10), 99)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value):
    require_finite(PATH, np.array([1, 2]))
    require_finite(PATH, np.array([1.0, 2.0]))
    with pytest.raises(CellDataError, match="NaN or infinite"):
        require_finite(PATH, np.array([1.0, value]))
