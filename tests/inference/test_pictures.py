import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from cellseg.datasets.tiff_io import CellDataError, read_cell_image
from cellseg.inference.pictures import read_picture, read_picture_size


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
    image = read_picture(tmp_path / "image.png", image_format)
    assert image.max() > 250
    np.testing.assert_array_equal(image, read_cell_image(tmp_path / "image.tif", image_format))


@pytest.mark.parametrize("kind", ["grey", "colour", "alpha", "palette", "bit"])
def test_8_bit_png_of_any_kind_is_read_as_colours(tmp_path, image, kind):
    path = tmp_path / "image.png"
    modes = {"grey": "L", "colour": "RGB", "alpha": "RGBA", "palette": "P", "bit": "1"}
    picture = Image.fromarray(image).convert(modes[kind])
    picture.save(path)
    wanted = np.asarray(picture.convert("RGB"))[..., ::-1]
    np.testing.assert_array_equal(read_picture(path), wanted)


def test_16_bit_png_without_a_range_is_refused_as_a_tiff_is(tmp_path):
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.full((9, 9, 3), 4000, np.uint16))
    with pytest.raises(CellDataError, match=r"image\.png: the image is not 8 bit"):
        read_picture(path)


@pytest.mark.parametrize("orientation", [1, 6])
def test_jpeg_that_exif_says_to_turn_is_turned(tmp_path, image, orientation):
    path = tmp_path / "image.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(path, exif=exif, quality=100)
    assert read_picture(path).shape == ((24, 30, 3) if orientation == 1 else (30, 24, 3))
    assert read_picture_size(path) == (24, 30)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_picture_that_cannot_be_decoded_is_reported(tmp_path, content):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    for read in (read_picture, read_picture_size):
        with pytest.raises(CellDataError, match=r"image\.png: cannot be decoded"):
            read(path)
