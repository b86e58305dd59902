"""Reading of images and label maps: every flavour that is promised, every defect that is named."""

import contextlib
import io
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellseg.datasets.tiff_io import (
    CellDataError,
    check_image_format,
    read_cell_image,
    read_image_size,
    read_label_map,
    summarize_image,
)

RGB = np.random.default_rng(1).integers(0, 256, (40, 52, 3), dtype=np.uint8)


@pytest.fixture
def tiff(tmp_path):
    def write(array, **options):
        path = tmp_path / "file.tif"
        tifffile.imwrite(path, array, **options)
        return path

    return write


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


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (
            np.zeros((4, 4, 5), np.uint8),
            {"planarconfig": "contig", "photometric": "rgb"},
            "colours",
        ),
        (np.zeros((4, 4, 4), np.uint8), {"photometric": "separated"}, "colours"),
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


@settings(max_examples=30, deadline=None)
@given(
    ids=hnp.arrays(
        np.int64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.integers(0, 250),
    ),
    dtype=st.sampled_from(["u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]),
    compression=st.sampled_from([None, "lzw", "deflate"]),
)
def test_read_label_map_when_any_whole_number_type_then_ids_kept(
    tmp_path_factory, ids, dtype, compression
):
    path = tmp_path_factory.mktemp("labels") / "file.tif"
    tifffile.imwrite(path, ids.astype(dtype), compression=compression, photometric="minisblack")
    label_map = read_label_map(path)
    assert label_map.dtype == np.int32
    np.testing.assert_array_equal(label_map, ids)


def test_read_label_map_when_more_than_65535_ids_then_all_kept(tiff):
    ids = np.arange(300 * 300, dtype=np.float64).reshape(300, 300)
    assert len(np.unique(read_label_map(tiff(ids, compression="lzw")))) == 90_000


@pytest.mark.parametrize("dtype", ["u4", "u8", "f8"])
def test_read_label_map_when_ids_exceed_int32_then_renumbered_in_order(tiff, dtype):
    ids = np.array([[0, 2**31], [5, 2**32 - 1]], dtype=dtype)
    np.testing.assert_array_equal(read_label_map(tiff(ids)), [[0, 2], [1, 3]])
    ids[0, 0] = 4  # no background at all
    np.testing.assert_array_equal(read_label_map(tiff(ids)), [[1, 3], [2, 4]])


@pytest.mark.parametrize(
    ("value", "word"),
    [(0.5, "fractional"), (-1, "negative"), (np.nan, "NaN"), (np.inf, "infinite"), (-0.5, "frac")],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_read_label_map_when_value_is_no_label_then_error_says_where(tiff, value, word, dtype):
    ids = np.zeros((6, 8), dtype=dtype)
    ids[2, 5] = value
    with pytest.raises(CellDataError, match=rf"file.tif: 1 .*{word}.*row 2, column 5"):
        read_label_map(tiff(ids))


def test_read_label_map_when_rgb_or_negative_integer_then_error(tiff):
    with pytest.raises(CellDataError, match="one channel"):
        read_label_map(tiff(RGB, photometric="rgb"))
    with pytest.raises(CellDataError, match="negative"):
        read_label_map(tiff(np.full((4, 4), -3, np.int16)))


def test_read_cell_image_when_hw3_sample_then_tissue_is_pink_not_brown(real_data):
    folder = real_data / "hw3" / "train" / "hw3_official_sample"
    image = read_cell_image(folder / "image.tif", {"channel_order": "bgr"})
    blue, green, red = image.reshape(-1, 3).mean(axis=0)
    assert image.shape == (397, 482, 3)
    assert red > green
    assert blue > green
