import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from cellseg.errors import CellDataError
from cellseg.images import read_cell_image, read_image_size, read_stored_image

RNG = np.random.default_rng(0)


RGB = RNG.integers(0, 255, (8, 9, 3), dtype=np.uint8)


GREY16 = RNG.integers(0, 65_535, (8, 9), dtype=np.uint16)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(24, 30), (24, 30, 3), (24, 30, 4)])
@pytest.mark.parametrize("intensity_range", [(0, 4095), {"percentile": (1, 99)}])
def test_16_bit_png_is_mapped_as_a_tiff_is(tmp_path, shape, intensity_range):
    pixels = np.random.default_rng(0).integers(0, 4096, shape, dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "image.png"), pixels)
    grey_or_bgr = pixels if pixels.ndim == 2 else pixels[..., :3]
    tifffile.imwrite(tmp_path / "image.tif", grey_or_bgr)
    image_format = {"intensity_range": intensity_range, "channel_order": "bgr"}
    image = read_cell_image(tmp_path / "image.png", image_format)
    assert image.max() > 250
    np.testing.assert_array_equal(image, read_cell_image(tmp_path / "image.tif", image_format))


@pytest.mark.parametrize("kind", ["grey", "colour", "alpha", "palette", "bit"])
def test_8_bit_png_of_any_kind_is_read_as_colours(tmp_path, image, kind):
    path = tmp_path / "image.png"
    modes = {"grey": "L", "colour": "RGB", "alpha": "RGBA", "palette": "P", "bit": "1"}
    picture = Image.fromarray(image).convert(modes[kind])
    picture.save(path)
    wanted = np.asarray(picture.convert("RGB"))[..., ::-1]
    np.testing.assert_array_equal(read_cell_image(path), wanted)


def test_16_bit_png_without_a_range_is_refused_as_a_tiff_is(tmp_path):
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.full((9, 9, 3), 4000, np.uint16))
    with pytest.raises(CellDataError, match=r"image\.png: the image is not 8 bit"):
        read_cell_image(path)


@pytest.mark.parametrize("orientation", [1, 6])
def test_jpeg_that_exif_says_to_turn_is_turned(tmp_path, image, orientation):
    path = tmp_path / "image.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(path, exif=exif, quality=100)
    assert read_cell_image(path).shape == ((24, 30, 3) if orientation == 1 else (30, 24, 3))
    assert read_image_size(path) == ((24, 30) if orientation == 1 else (30, 24))


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_picture_that_cannot_be_decoded_is_reported(tmp_path, content):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    for read in (read_cell_image, read_image_size):
        with pytest.raises(CellDataError, match=r"image\.png: cannot be decoded"):
            read(path)


def test_picture_when_read_then_red_is_first_and_alpha_is_gone(tmp_path):
    Image.fromarray(np.dstack([RGB, RGB[..., 0]]), "RGBA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_stored_image(tmp_path / "a.png"), RGB)
    Image.fromarray(GREY16).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_stored_image(tmp_path / "b.png"), GREY16)
    Image.fromarray(RGB[..., 0] > 99).save(tmp_path / "c.png")
    np.testing.assert_array_equal(read_stored_image(tmp_path / "c.png"), (RGB[..., 0] > 99) * 255)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.bmp"])
def test_image_when_truncated_or_missing_then_error_names_it(tmp_path, name):
    path = tmp_path / name
    noise = RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    with pytest.raises(CellDataError, match=f"{name}: no such file"):
        read_stored_image(path)
    if path.suffix == ".tif":
        tifffile.imwrite(path, noise, photometric="rgb")
    else:
        Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(CellDataError, match=f"{name}: .*(truncated|damaged)"):
            read_stored_image(path)


def test_picture_that_declares_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("cellseg.images.picture_image.MAX_PICTURE_PIXELS", 50)
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(CellDataError, match="more than the limit"):
        read_stored_image(tmp_path / "a.png")
