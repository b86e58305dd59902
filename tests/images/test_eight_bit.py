import numpy as np
import pytest

from cellseg.errors import CellDataError
from cellseg.images import check_image_format, read_cell_image

RGB = np.random.default_rng(1).integers(0, 256, (40, 52, 3), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64, np.int32])
def test_read_cell_image_when_not_8_bit_then_fixed_range_maps_linearly(tiff, dtype):
    values = np.array([[0, 1000, 2000, 3000, 5000]], dtype=dtype)
    path = tiff(values, photometric="minisblack")
    image = read_cell_image(path, {"intensity_range": (1000, 3000)})
    np.testing.assert_array_equal(image[0, :, 0], [0, 0, 128, 255, 255])
    with pytest.raises(CellDataError, match=r"file.tif: .*intensity_range"):
        read_cell_image(path)


def test_read_cell_image_when_percentile_range_then_ends_are_clipped(tiff):
    values = np.linspace(0, 60_000, 101).astype(np.uint16)[None]
    options = {"intensity_range": {"percentile": (10, 90)}}
    image = read_cell_image(tiff(values, photometric="minisblack"), options)[0, :, 0]
    assert (image[:11] == 0).all()
    assert (image[90:] == 255).all()
    assert image[50] in (127, 128)
    flat = tiff(np.full((4, 4), 9, dtype=np.uint16), photometric="minisblack")
    assert not read_cell_image(flat, options).any()


def test_read_cell_image_when_8_bit_then_range_is_not_applied(tiff):
    path = tiff(RGB, photometric="rgb")
    image = read_cell_image(path, {"intensity_range": (0, 10)})
    np.testing.assert_array_equal(image, RGB[..., ::-1])


@pytest.mark.parametrize(
    "options",
    [
        {"channel_order": "bgra"},
        {"intensity_range": (5, 5)},
        {"intensity_range": (1, float("nan"))},
        {"intensity_range": {"percentile": (0, 101)}},
        {"intensity_range": {"quantile": (0, 1)}},
        {"intensity_range": 5},
        {"chanel_order": "rgb"},
    ],
)
def test_check_image_format_when_senseless_then_error(options):
    with pytest.raises(ValueError, match=r"must be|Unknown"):
        check_image_format(options)
