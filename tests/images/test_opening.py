"""Every kind of image that is promised, read whole and in regions."""

import doctest

import cv2
import numpy as np
import pytest
import tifffile

from cellseg.errors import CellDataError
from cellseg.images import (
    ArraySource,
    ResampledSource,
    open_image,
    opening,
    read_cell_image,
    read_image_size,
    read_opened_size,
    read_stored_image,
)

RGB = np.random.default_rng(1).integers(0, 256, (40, 52, 3), dtype=np.uint8)


GRAY16 = np.random.default_rng(0).integers(0, 65_535, (8, 9), dtype=np.uint16)


@pytest.fixture
def image():
    noise = np.random.default_rng(0).integers(0, 256, (240, 300, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


@pytest.fixture
def pyramid(tmp_path, image):
    path = tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as writer:
        options = dict(photometric="rgb", tile=(64, 64), resolutionunit="CENTIMETER")
        writer.write(image, subifds=2, resolution=(40000, 40000), **options)
        for step in (2, 4):
            reduced = cv2.resize(
                image, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA
            )
            writer.write(reduced, subfiletype=1, **options)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw"},
        {"compression": "lzw", "predictor": 2},
        {"compression": "deflate"},
        {"compression": "zstd"},
        {"tile": (16, 16)},
        {"tile": (32, 32), "compression": "deflate"},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"rowsperstrip": 1, "compression": "lzw"},
        {"planarconfig": "separate"},
    ],
)
def test_read_cell_image_when_rgb_in_any_container_then_bgr(tiff, options):
    data = np.moveaxis(RGB, 2, 0) if "planarconfig" in options else RGB
    path = tiff(data, photometric="rgb", **options)
    np.testing.assert_array_equal(read_cell_image(path), RGB[..., ::-1])
    assert read_image_size(path) == (40, 52)


def test_read_cell_image_when_jpeg_then_close_to_what_was_written(tiff):
    smooth = np.full((64, 64, 3), (200, 120, 40), dtype=np.uint8)
    path = tiff(smooth, photometric="rgb", compression="jpeg", compressionargs={"level": 95})
    difference = read_cell_image(path).astype(int) - smooth[..., ::-1]
    assert np.abs(difference).max() <= 4


def test_read_cell_image_when_file_order_is_bgra_then_alpha_dropped_and_order_kept(tiff):
    bgra = np.dstack([RGB, np.full(RGB.shape[:2], 255, dtype=np.uint8)])
    path = tiff(bgra, photometric="rgb")
    np.testing.assert_array_equal(read_cell_image(path, {"channel_order": "bgr"}), RGB)
    np.testing.assert_array_equal(read_cell_image(path), RGB[..., ::-1])


@pytest.mark.parametrize("size", [(3, 1), (1, 3), (1, 1), (4, 4), (3, 3)])
def test_read_cell_image_when_tiny_and_grey_then_channels_not_confused(tiff, size):
    grey = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size)
    image = read_cell_image(tiff(grey, photometric="minisblack"))
    np.testing.assert_array_equal(image, np.repeat(grey[..., None], 3, axis=2))


def test_read_cell_image_when_min_is_white_then_inverted(tiff):
    image = read_cell_image(tiff(RGB[..., 0], photometric="miniswhite"))
    np.testing.assert_array_equal(image[..., 0], 255 - RGB[..., 0])


def test_read_cell_image_when_hw3_sample_then_tissue_is_pink_not_brown(real_data):
    folder = real_data / "hw3" / "train" / "hw3_official_sample"
    image = read_cell_image(folder / "image.tif", {"channel_order": "bgr"})
    blue, green, red = image.reshape(-1, 3).mean(axis=0)
    assert image.shape == (397, 482, 3)
    assert red > green
    assert blue > green


def test_tiff_when_read_then_red_is_first_and_values_are_kept(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB[..., ::-1], photometric="rgb")
    np.testing.assert_array_equal(read_stored_image(tmp_path / "a.tif", "bgr"), RGB)
    tifffile.imwrite(tmp_path / "b.svs", RGB, photometric="rgb", tile=(16, 16))
    np.testing.assert_array_equal(read_stored_image(tmp_path / "b.svs"), RGB)
    tifffile.imwrite(tmp_path / "c.tiff", GRAY16)
    np.testing.assert_array_equal(read_stored_image(tmp_path / "c.tiff"), GRAY16)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_open_image_of_any_kind_gives_the_same_pixels(tmp_path, image, suffix):
    path = tmp_path / f"image{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, image[..., ::-1], photometric="rgb")
    else:
        cv2.imwrite(str(path), image)
    with open_image(path, {"channel_order": "rgb"}) as source:
        np.testing.assert_array_equal(source.read(10, 20, 50, 60), image[20:80, 10:60])


def test_open_image_of_a_small_tiff_reads_as_the_data_set_does(tmp_path, image):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image, photometric="rgb")
    with open_image(path, {"channel_order": "bgr"}) as source:
        whole = read_cell_image(path, {"channel_order": "bgr"})
        np.testing.assert_array_equal(source.read(0, 0, 300, 240), whole)


@pytest.mark.parametrize(
    ("mpp", "size", "downsample", "kind"),
    [
        (None, (240, 300), 1.0, ArraySource),
        (0.25, (240, 300), 1.0, ArraySource),
        (0.5, (120, 150), 2.0, ArraySource),
        (0.505, (120, 150), 2.0, ArraySource),
        (1.0, (60, 75), 4.0, ArraySource),
        (0.75, (80, 100), 3.0, ResampledSource),
        (0.125, (480, 600), 0.5, ResampledSource),
    ],
)
def test_open_image_at_a_pixel_size_takes_the_level_for_it(pyramid, mpp, size, downsample, kind):
    with open_image(pyramid, mpp=mpp) as source:
        assert isinstance(source, kind)
        assert (source.height, source.width) == size
        assert source.downsample == pytest.approx(downsample)
        assert source.pixel_size_um == pytest.approx(0.25 * downsample)


@pytest.mark.parametrize(("order", "mpp"), [("rgb", None), ("bgr", None), ("rgb", 0.5)])
def test_open_image_of_an_array_when_its_order_is_given_then_follows_it(image, order, mpp):
    array = image if order == "bgr" else image[..., ::-1]
    with open_image(array, {"channel_order": order}, mpp, pixel_size_um=0.25) as source:
        if mpp is None:
            np.testing.assert_array_equal(source.read(10, 20, 50, 60), image[20:80, 10:60])
            np.testing.assert_array_equal(source.read_rgb(), image[..., ::-1])
        assert source.pixel_size_xy_um == (mpp or 0.25, mpp or 0.25)


def test_open_image_when_pixels_are_not_square_then_tells_both_sides(tmp_path, image):
    path = tmp_path / "image.ome.tif"
    sides = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    tifffile.imwrite(path, image[..., ::-1], photometric="rgb", metadata={"axes": "YXS", **sides})
    with open_image(path) as source:
        assert source.pixel_size_um is None
        assert source.pixel_size_xy_um == (0.25, 0.5)


@pytest.mark.parametrize("mpp", [None, 0.25, 0.505, 0.75, 0.125])
@pytest.mark.parametrize("kind", [".tif", ".png", "pyramid"])
def test_size_read_beforehand_is_that_of_the_image_opened(tmp_path, image, pyramid, kind, mpp):
    path = pyramid
    if kind != "pyramid":
        path = tmp_path / f"image{kind}"
        cv2.imwrite(str(path), image)
    with open_image(path, mpp=mpp, pixel_size_um=0.25) as source:
        size = read_opened_size(path, mpp, 0.25)
        assert size == (source.height, source.width)


def test_open_image_at_a_pixel_size_when_unknown_says_what_to_give(tmp_path, image):
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), image)
    with pytest.raises(CellDataError, match="--pixel-size"):
        open_image(path, mpp=0.5)
    with open_image(path, mpp=0.5, pixel_size_um=0.25) as source:
        assert (source.height, source.width) == (120, 150)


def test_examples_always_give_what_they_show():
    assert doctest.testmod(opening).failed == 0
