"""Every defect of a TIFF that is named before or while it is decoded."""

import contextlib
import io
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg.errors import CellDataError
from cellseg.images import read_cell_image, read_image_size, read_label_map, summarize_image

RGB = np.random.default_rng(1).integers(0, 256, (40, 52, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (
            np.zeros((4, 4, 5), np.uint8),
            {"planarconfig": "contig", "photometric": "rgb"},
            "colors",
        ),
        (np.zeros((4, 4, 4), np.uint8), {"photometric": "separated"}, "colors"),
        (np.full((4, 4), np.nan, np.float32), {"photometric": "minisblack"}, "NaN"),
        (np.zeros((3, 40, 40), np.uint8), {"photometric": "minisblack"}, "stack"),
        (np.zeros((4, 4), np.complex64), {"photometric": "minisblack"}, "pixel type"),
    ],
)
def test_read_cell_image_when_content_is_no_image_then_error_names_file(
    tiff, array, options, message
):
    with pytest.raises(CellDataError, match=rf"file.tif: .*{message}"):
        read_cell_image(tiff(array, **options))


def test_read_cell_image_when_imagej_stack_then_error(tiff):
    with pytest.raises(CellDataError, match="stack"):
        read_cell_image(tiff(np.zeros((5, 30, 30), np.uint8), imagej=True))


def test_read_cell_image_when_thumbnail_follows_then_first_page(tmp_path):
    path = tmp_path / "file.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(RGB, photometric="rgb")
        writer.write(RGB[::4, ::4], photometric="rgb", subfiletype=1)
    assert read_cell_image(path).shape == RGB.shape


@pytest.mark.parametrize("compression", [None, "lzw", "deflate"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_read_when_truncated_anywhere_then_error_names_file(tmp_path, compression, share):
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", compression=compression)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    for read in (read_cell_image, read_image_size, summarize_image, read_label_map):
        with pytest.raises(CellDataError, match=r"cut.tif: "):
            read(path)


def test_read_when_not_a_tiff_or_absent_then_error_names_file(tmp_path):
    path = tmp_path / "note.tif"
    path.write_text("not a TIFF")
    for bad in (path, tmp_path / "absent.tif", tmp_path):
        with pytest.raises(CellDataError, match=str(bad)):
            read_label_map(bad)
        with pytest.raises(CellDataError, match=str(bad)):
            read_cell_image(bad)


def _declare(width: int, height: int, samples: int = 1) -> bytes:
    """Return a TIFF of a few bytes that declares any size."""
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 8),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, samples),
        (278, 4, height),
        (279, 4, 4),
    ]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + b"\0" * 4


@pytest.mark.parametrize(
    ("width", "height", "samples"),
    [(100_000, 100_000, 1), (2**32 - 1, 2**32 - 1, 1), (0, 5, 1), (4, 4, 65_535)],
)
def test_read_when_declared_size_is_hostile_then_error_before_decoding(
    tmp_path, width, height, samples
):
    path = tmp_path / "bomb.tif"
    path.write_bytes(_declare(width, height, samples))
    for read in (read_cell_image, read_label_map):
        with pytest.raises(CellDataError, match=r"bomb.tif: "):
            read(path)


def test_read_when_larger_than_max_pixels_then_error_and_option_lifts_it(tiff):
    path = tiff(np.ones((40, 40), np.uint8))
    with pytest.raises(CellDataError, match="max_pixels"):
        read_label_map(path, max_pixels=1599)
    assert read_label_map(path, max_pixels=1600).all()
    with pytest.raises(CellDataError, match="max_pixels"):
        read_cell_image(path, {"max_pixels": 1599})


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_read_when_bytes_are_damaged_then_array_or_cell_data_error(tmp_path_factory, data):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, RGB[..., 0], compression="lzw", metadata=None)
    damaged = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "file.tif"
    path.write_bytes(damaged)
    for read in (read_label_map, read_cell_image):
        with contextlib.suppress(CellDataError):
            assert read(path).shape[:2] == read_image_size(path)
