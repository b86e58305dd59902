import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from cellseg.errors import CellDataError
from cellseg.images import (
    open_image,
    read_cell_image,
    read_image_size,
    read_opened_size,
    read_stored_image,
)

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


@pytest.mark.parametrize("kind", ["grey", "color", "alpha", "palette", "bit"])
def test_8_bit_png_of_any_kind_is_read_as_colors(tmp_path, image, kind):
    path = tmp_path / "image.png"
    modes = {"grey": "L", "color": "RGB", "alpha": "RGBA", "palette": "P", "bit": "1"}
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


def write_deep_png(path, values, color_type):
    """Write (H, W, samples) uint16 as a PNG of 16 bits: color type 0, 2, 4 or 6."""

    def chunk(kind, content):
        sum_of = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + sum_of

    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


@pytest.mark.parametrize(("color_type", "samples"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_of_any_kind_keeps_all_bits(tmp_path, color_type, samples):
    path = tmp_path / "image.png"
    values = RNG.integers(0, 4096, (8, 9, samples), dtype=np.uint16)
    values[0, 0, 0] = 4080
    write_deep_png(path, values, color_type)
    stored = read_stored_image(path)
    assert stored.dtype == np.uint16
    wanted = values[..., 0] if samples < 3 else values[..., :3]
    np.testing.assert_array_equal(stored, wanted)
    shown = read_cell_image(path, {"intensity_range": (0, 4095)})
    assert shown[0, 0, 2] == 254  # 4080 of 4095; its upper byte alone would give 15
    with pytest.raises(CellDataError, match="not 8 bit"):
        read_cell_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_exif_orientation_is_obeyed_by_every_reader(tmp_path, image, orientation, name):
    path = tmp_path / name
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name == "a.webp" else {"quality": 100, "subsampling": 0}
    Image.fromarray(image).save(path, exif=exif, **options)
    with Image.open(path) as picture:
        wanted = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    np.testing.assert_array_equal(read_stored_image(path), wanted)
    np.testing.assert_array_equal(read_cell_image(path), wanted[..., ::-1])
    assert read_image_size(path) == wanted.shape[:2]
    with open_image(path) as source:
        np.testing.assert_array_equal(source.read(3, 2, 11, 7), wanted[2:9, 3:14, ::-1])


def test_16_bit_png_with_colors_is_turned_as_exif_says(tmp_path):
    path = tmp_path / "image.png"
    values = RNG.integers(0, 65536, (8, 9, 3), dtype=np.uint16)
    write_deep_png(path, values, 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = exif.tobytes()[6:]  # without the mark of JPEG
    chunk = struct.pack(">I", len(content)) + b"eXIf" + content
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + content))
    whole = path.read_bytes()
    path.write_bytes(whole[:33] + chunk + whole[33:])
    np.testing.assert_array_equal(read_stored_image(path), np.rot90(values, -1))


def test_png_whose_exif_follows_its_pixels_has_the_size_that_it_is_decoded_with(tmp_path, image):
    path = tmp_path / "image.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(path, exif=exif)
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    path.write_bytes(content[:start] + content[end:-12] + content[start:end] + content[-12:])
    wanted = np.rot90(image, -1)
    assert read_image_size(path) == read_opened_size(path) == wanted.shape[:2]
    np.testing.assert_array_equal(read_stored_image(path), wanted)
    with open_image(path) as source:
        assert source.levels == (wanted.shape[:2],)


@pytest.mark.parametrize("cut", [1, 40])
def test_jpeg_that_lacks_its_last_bytes_is_refused(tmp_path, cut):
    path = tmp_path / "a.jpg"
    noise = RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, quality=90)
    content = path.read_bytes().removesuffix(b"\xff\xd9")
    path.write_bytes(content[: len(content) - cut * 20])
    for read in (read_cell_image, read_stored_image):
        with pytest.raises(CellDataError, match=r"a\.jpg: cannot be decoded"):
            read(path)


@pytest.mark.parametrize("size", [(60_000, 60_000), (16_000, 16_000), (2**31 - 1, 2**31 - 1)])
def test_picture_whose_file_is_too_small_for_it_is_refused_undecoded(tmp_path, monkeypatch, size):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    path = tmp_path / "bomb.png"
    write_deep_png(path, np.zeros((2, 2, 1), np.uint16), 0)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", *size)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    bmp = tmp_path / "bomb.bmp"
    Image.new("L", (4, 4)).save(bmp)
    header = bytearray(bmp.read_bytes())
    header[18:26] = struct.pack("<ii", *size)
    bmp.write_bytes(header)
    for bad in (path, bmp):
        for read in (read_cell_image, read_stored_image, open_image, read_opened_size):
            with pytest.raises(CellDataError, match=rf"{bad.name}: declares"):
                read(bad)


@pytest.mark.parametrize("name", ["bomb.png", "bomb.webp"])
def test_blank_picture_of_many_pixels_in_a_small_file_is_refused_undecoded(
    tmp_path, monkeypatch, name
):
    monkeypatch.setattr("cellseg.images.stored_image._SMALL_BYTES", 2**18)
    path = tmp_path / name
    Image.new("RGB", (2000, 2000)).save(path, lossless=True)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    for read in (read_cell_image, read_stored_image, open_image, read_opened_size):
        with pytest.raises(CellDataError, match=rf"{name}: declares 2000 x 2000 pixels, far too"):
            read(path)


def test_16_bit_png_with_odd_metadata_is_read_without_a_word(tmp_path, capfd):
    path = tmp_path / "a.png"
    values = np.arange(24 * 30 * 3, dtype=np.uint16).reshape(24, 30, 3)
    write_deep_png(path, values, 2)
    content = path.read_bytes()
    profile = b"iCCPx\0\0" + zlib.compress(b"no profile")
    chunk = struct.pack(">I", len(profile) - 4) + profile + struct.pack(">I", zlib.crc32(profile))
    path.write_bytes(content[:33] + chunk + content[33:])
    np.testing.assert_array_equal(read_stored_image(path), values)
    assert capfd.readouterr().err == ""
