"""What is refused before a pixel is decoded, and what is read as `cellseg predict` reads it."""

import re
import struct
import zlib
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile

from cellseg.errors import CellDataError
from cellseg.images import open_image
from cellseg.web import page_images
from cellseg.web.page_images import OpenImage, PageImage
from cellseg.web.uploads import UploadLimits, check_upload

LIMITS = UploadLimits(max_bytes=200_000, max_pixels=100 * 100, max_slide_pixels=150 * 150)


def _png_header(width: int, height: int) -> bytes:
    """Make a PNG that declares a size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        sum_of = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + sum_of

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10)))
        + chunk(b"IEND", b"")
    )


def _never(*_: object, **__: object) -> None:
    raise AssertionError("something was decoded")


@pytest.fixture
def nothing_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every decoder fail the test."""
    monkeypatch.setattr(page_images, "open_image", _never)
    monkeypatch.setattr(cv2, "imdecode", _never)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", _never)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", _never)


def _open(path: Path, name: str, image_format: dict | None = None) -> OpenImage:
    """Check and open an upload as the page does."""
    suffix = check_upload(path, name, LIMITS)
    kept = path.with_name(f"kept{suffix}")
    kept.write_bytes(path.read_bytes())
    image = PageImage("k", name, kept, path.parent / f"corrections of {name}")
    return image.open(image_format or {}, ("cell",))


def _refusal(path: Path) -> str:
    with pytest.raises(CellDataError) as caught:
        _open(path, path.name)
    text = str(caught.value)
    assert str(path.parent) not in text
    assert path.name in text
    return text


@pytest.mark.usefixtures("nothing_decodes")
@pytest.mark.parametrize(
    "size", [(101, 100), (65_000, 65_000), (2**31 - 1, 2**31 - 1), (10_001, 1)]
)
def test_check_upload_when_a_png_declares_too_many_pixels_then_it_is_not_decoded(tmp_path, size):
    path = tmp_path / "bomb.png"
    path.write_bytes(_png_header(*size))
    text = _refusal(path)
    assert "tiled TIFF" in text
    assert "limit of 0.01 million pixels" in text


@pytest.mark.usefixtures("nothing_decodes")
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_check_upload_when_a_tiff_declares_too_many_pixels_then_it_is_not_decoded(
    tmp_path, compression
):
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((200, 200), np.uint8), compression=compression)
    assert "200 x 200 pixels" in _refusal(path)
    patched = tifffile.TiffFile(path, mode="r+b")
    with patched as tiff:
        tiff.pages.first.tags["ImageWidth"].overwrite(60_000)
        tiff.pages.first.tags["ImageLength"].overwrite(60_000)
        tiff.pages.first.tags["RowsPerStrip"].overwrite(60_000)
    assert "60000 x 60000 pixels, far too many for a file of" in _refusal(path)


@pytest.mark.usefixtures("nothing_decodes")
def test_check_upload_when_jpeg_data_are_larger_than_the_tiff_says_then_it_is_not_decoded(
    tmp_path,
):
    path = tmp_path / "inside.tif"
    content = imagecodecs.jpeg8_encode(np.zeros((3000, 3000), np.uint8))
    tifffile.imwrite(
        path,
        iter([content]),
        shape=(64, 64),
        dtype=np.uint8,
        compression="jpeg",
        rowsperstrip=64,
    )
    assert "JPEG data of another size" in _refusal(path)


@pytest.mark.usefixtures("nothing_decodes")
def test_check_upload_when_jpeg_data_of_a_coarser_level_are_larger_then_it_is_not_decoded(tmp_path):
    path = tmp_path / "levels.tif"
    content = imagecodecs.jpeg8_encode(np.zeros((3000, 3000), np.uint8))
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.zeros((64, 64), np.uint8), tile=(32, 32), subifds=1)
        writer.write(
            iter([content]),
            shape=(32, 32),
            dtype=np.uint8,
            compression="jpeg",
            rowsperstrip=32,
            subfiletype=1,
        )
    assert "JPEG data of another size" in _refusal(path)


def test_upload_when_a_slide_is_cut_into_tiles_then_it_may_have_more_pixels(tmp_path):
    path = tmp_path / "slide.tif"
    image = np.zeros((140, 130, 3), np.uint8)
    tifffile.imwrite(path, image, tile=(32, 32), photometric="rgb")
    assert _open(path, path.name).pyramid.width == 130


@pytest.mark.usefixtures("nothing_decodes")
def test_check_upload_when_tiles_are_larger_than_the_image_then_it_is_not_decoded(tmp_path):
    path = tmp_path / "tiles.tif"
    image = np.zeros((64, 64), np.float64)
    tifffile.imwrite(path, image, tile=(2048, 2048), compression="zlib")
    assert "too much memory" in _refusal(path)


@pytest.mark.usefixtures("nothing_decodes")
def test_check_upload_when_a_compression_has_no_bound_then_it_is_not_decoded(tmp_path):
    path = tmp_path / "odd.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="png")
    assert "compressed as PNG" in _refusal(path)


@pytest.mark.usefixtures("nothing_decodes")
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.png", b"", "empty"),
        ("notes.png", b"these are notes, not an image", "not an image"),
        ("page.tif", b"<html>", "not an image"),
        ("half.tif", b"II*\0\x08\0\0\0", "TIFF"),
        ("nine.tif", b"MM\0*\0\0", "TIFF"),
        ("cut.png", _png_header(50, 50)[:20], "damaged|not an image"),
        ("large.png", b"\x89PNG" + bytes(200_000), "MiB, more than the limit"),
        ("a picture.gif", b"GIF89a\x01\0\x01\0\0\0\0;", "not an image"),
    ],
)
def test_check_upload_when_a_file_is_no_image_then_words_say_so(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    assert re.search(words, _refusal(path))


@pytest.mark.parametrize("keep", [60, 150])
def test_upload_when_a_file_is_cut_then_words_say_so(tmp_path, keep):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (60, 60, 3), np.uint8)
    for name in ("cut.png", "cut.bmp"):
        _, content = cv2.imencode(Path(name).suffix, image)
        (tmp_path / name).write_bytes(content.tobytes()[:keep])
        assert _refusal(tmp_path / name)
    tifffile.imwrite(tmp_path / "cut.tif", image, photometric="rgb")
    whole = (tmp_path / "cut.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    assert "truncated" in _refusal(tmp_path / "cut.tif")


def test_upload_when_an_image_needs_a_range_then_words_say_so(tmp_path):
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, np.zeros((20, 20), np.uint16))
    assert "not 8 bit" in _refusal(path)
    image_format = {"intensity_range": (0, 1000)}
    assert _open(path, path.name, image_format).pyramid.width == 20


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.bmp", "a.jpg", "jpeg.tif", "tiles.tif"])
def test_upload_then_pixels_are_those_that_predict_reads(tmp_path, name):
    path = tmp_path / name
    image = np.random.default_rng(0).integers(0, 255, (48, 70, 3), np.uint8)
    if path.suffix == ".tif":
        options = {"a.tif": {}, "jpeg.tif": {"compression": "jpeg", "rowsperstrip": 16}}
        given = options.get(name, {"compression": "jpeg", "tile": (32, 32)})
        tifffile.imwrite(path, image, photometric="rgb", resolution=(4e4, 4e4), **given)
    else:
        cv2.imwrite(str(path), image)
    found = _open(path, name)
    with open_image(path) as source:
        pixels = found.pyramid.read(0, 0, 70, 48)
        np.testing.assert_array_equal(pixels, source.read(0, 0, 70, 48))
        assert found.pixel_size_um == source.pixel_size_um


def test_check_upload_when_a_tiff_is_named_png_then_its_content_counts(tmp_path):
    path = tmp_path / "wrong.png"
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 9), np.uint8))
    (tmp_path / "a.tif").rename(path)
    assert check_upload(path, path.name, LIMITS) == ".tif"


def test_limits_when_described_then_both_are_named():
    assert UploadLimits().describe() == "1024 MiB; pictures up to 67 million pixels"
