"""What is stored is what every reader gets: the same values, or the same error, by every way in."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellseg.errors import CellDataError
from cellseg.images import open_image, read_cell_image, read_stored_image

RNG = np.random.default_rng(5)
GRAY = RNG.integers(0, 256, (48, 64), dtype=np.uint8)
RGB = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)


def open_whole(path, image_format):
    """Read an image as tools/predict.py reads small ones."""
    with open_image(path, image_format) as source:
        return source.read(0, 0, source.width, source.height)


@pytest.fixture(params=["data set", "whole", "regions"])
def read(request, monkeypatch):
    """Return each way to read an image as 8 bit."""
    if request.param == "regions":
        monkeypatch.setattr("cellseg.images.opening._READ_WHOLE_PX", 0)
    reader = read_cell_image if request.param == "data set" else open_whole
    return lambda path, **image_format: reader(path, image_format)


@pytest.fixture(params=["plain", "tiled", "pyramid", "ome pyramid"])
def write(request, tmp_path):
    """Return each way to write an image as a TIFF."""

    def write_tiff(values, **options):
        kind = request.param
        path = tmp_path / ("image.ome.tif" if kind == "ome pyramid" else "image.tif")
        if kind == "plain":
            tifffile.imwrite(path, values, metadata=None, **options)
            return path
        options = {"tile": (16, 16), **options}
        with tifffile.TiffWriter(path, ome=kind == "ome pyramid") as writer:
            writer.write(values, subifds=int("pyramid" in kind), **options)
            if "pyramid" in kind:
                writer.write(values[::2, ::2], subfiletype=1, **options)
        return path

    return write_tiff


def test_values_that_count_from_white_are_turned_around(read, write):
    path = write(GRAY, photometric="miniswhite")
    np.testing.assert_array_equal(read(path), np.repeat(255 - GRAY[..., None], 3, axis=2))
    np.testing.assert_array_equal(read_stored_image(path), 255 - GRAY)


def test_16_bit_values_that_count_from_white_are_turned_around(read, write):
    values = GRAY.astype(np.uint16) * 257
    path = write(values, photometric="miniswhite")
    image = read(path, intensity_range=(0, 65535))
    np.testing.assert_array_equal(image[..., 0], 255 - GRAY)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_one_bit_is_black_or_white(read, write, photometric):
    bits = GRAY > 90
    path = write(bits, photometric=photometric)
    white = bits if photometric == "minisblack" else ~bits
    np.testing.assert_array_equal(read(path)[..., 1], white * 255)
    np.testing.assert_array_equal(read_stored_image(path), white * 255)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_four_bits_need_a_range_as_other_depths_do(read, write, photometric):
    values = GRAY // 16
    path = write(values, photometric=photometric, bitspersample=4)
    with pytest.raises(CellDataError, match=r"\.tif: the image is not 8 bit.*intensity_range"):
        read(path)
    shown = values if photometric == "minisblack" else 15 - values
    np.testing.assert_array_equal(read(path, intensity_range=(0, 15))[..., 2], shown * 17)
    np.testing.assert_array_equal(read_stored_image(path), shown * 17)  # else converted to black


@pytest.mark.parametrize("intensity_range", [(0, 1), {"percentile": (1, 99)}])
def test_not_a_number_is_refused(read, write, intensity_range):
    values = GRAY.astype(np.float32) / 255
    values[:3, :3] = np.nan
    path = write(values, photometric="minisblack")
    with pytest.raises(CellDataError, match=r"image.*\.tif: holds NaN or infinite pixels"):
        read(path, intensity_range=intensity_range)


def test_float_values_are_mapped(read, write):
    path = write(GRAY.astype(np.float32) / 255, photometric="minisblack")
    np.testing.assert_array_equal(read(path, intensity_range=(0, 1))[..., 0], GRAY)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_channels_that_are_no_colors_are_refused(read, tmp_path, channels):
    path = tmp_path / "image.tif"
    values = RNG.integers(0, 256, (48, 64, channels), dtype=np.uint8)
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    message = rf"image\.tif: is a stack of {channels} channels .*; save the channels to use"
    with pytest.raises(CellDataError, match=message):
        read(path)
    with pytest.raises(CellDataError, match=message):
        read_stored_image(path)


def test_planes_that_are_no_colors_are_refused(read, tmp_path):
    path = tmp_path / "image.tif"
    values = RNG.integers(0, 256, (2, 48, 64), dtype=np.uint8)
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="separate")
    with pytest.raises(CellDataError, match="stack of 2 channels"):
        read(path)


@pytest.mark.parametrize("alpha", ["assocalpha", "unassalpha"])
def test_alpha_that_is_declared_is_left_out(read, tmp_path, alpha):
    path = tmp_path / "image.tif"
    values = np.dstack([GRAY, 255 - GRAY])
    options = dict(photometric="minisblack", planarconfig="contig", extrasamples=[alpha])
    tifffile.imwrite(path, values, **options)
    np.testing.assert_array_equal(read(path), np.repeat(GRAY[..., None], 3, axis=2))


@pytest.mark.parametrize("extra", ["unspecified", "unassalpha"])
def test_fourth_sample_of_rgb_is_left_out_declared_or_not(read, write, extra):
    path = write(np.dstack([RGB, GRAY]), photometric="rgb", extrasamples=[extra])
    np.testing.assert_array_equal(read(path), RGB[..., ::-1])
    np.testing.assert_array_equal(read(path, channel_order="bgr"), RGB)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tf8", ".png.tif", ".jpg", ".svs"])
def test_content_counts_and_not_the_name(read, tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    Image.fromarray(RGB).save(path, format="PNG")
    np.testing.assert_array_equal(read(path, channel_order="bgr"), RGB[..., ::-1])
    np.testing.assert_array_equal(read_stored_image(path, "bgr"), RGB)


@pytest.mark.parametrize("suffix", [".btf", ".tf8", ".ome.btf", ".qptiff", ".png", ".txt"])
def test_tiff_of_any_name_is_read(read, tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    with tifffile.TiffWriter(path, bigtiff=suffix != ".png", ome=False) as writer:
        writer.write(RGB, photometric="rgb", tile=(32, 32))
    np.testing.assert_array_equal(read(path), RGB[..., ::-1])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_webp_is_read(read, tmp_path, mode):
    path = tmp_path / "image.webp"
    picture = Image.fromarray(RGB).convert(mode)
    picture.save(path, lossless=True, exact=True)
    np.testing.assert_array_equal(read(path), np.asarray(picture.convert("RGB"))[..., ::-1])


def test_tiff_orientation_tag_is_as_stored_everywhere(read, write):
    path = write(RGB, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    np.testing.assert_array_equal(read(path), RGB[..., ::-1])


def test_12_bit_values_that_count_from_white_are_turned_around(read, write):
    values = RNG.integers(0, 4096, (48, 64)).astype(np.uint16)
    path = write(values, photometric="miniswhite", bitspersample=12)
    image = read(path, intensity_range=(0, 4095))
    np.testing.assert_array_equal(image[..., 0], np.rint((4095 - values) * (255 / 4095)))


@pytest.mark.parametrize("kind", [np.float32, np.int16, np.int8])
def test_values_that_count_from_an_unknown_white_are_refused(read, write, kind):
    path = write(GRAY.astype(kind), photometric="miniswhite")
    with pytest.raises(CellDataError, match=r"image.*tif: counts from white .*MinIsBlack"):
        read(path, intensity_range=(0, 100))


def test_several_samples_declared_as_alpha_are_refused(read, tmp_path):
    path = tmp_path / "image.tif"
    values = RNG.integers(0, 256, (48, 64, 4), dtype=np.uint8)
    options = dict(photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(path, values, extrasamples=["unassalpha"] * 3, **options)
    with pytest.raises(CellDataError, match="stack of 4 channels"):
        read(path)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_animated_pictures_are_refused(read, tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    more = [Image.fromarray(255 - RGB)]
    Image.fromarray(RGB).save(path, save_all=True, append_images=more, lossless=True)
    with pytest.raises(CellDataError, match="stack of several images"):
        read(path)
