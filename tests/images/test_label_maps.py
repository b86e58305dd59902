import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from cellseg.errors import CellDataError
from cellseg.images import read_label_map
from cellseg.images.label_maps import check_labels

RNG = np.random.default_rng(0)


RGB = RNG.integers(0, 255, (8, 9, 3), dtype=np.uint8)


GREY16 = RNG.integers(0, 65_535, (8, 9), dtype=np.uint16)


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


@pytest.mark.parametrize("dtype", ["u4", "u8", "f4", "f8"])
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


def test_labels_when_read_then_ids_are_kept(tmp_path):
    Image.fromarray(GREY16).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png"), GREY16)
    tifffile.imwrite(tmp_path / "a.tif", GREY16.astype(np.int32) + 70_000)
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.tif"), GREY16.astype(int) + 70_000)
    indexed = Image.fromarray(RGB[..., 0])
    indexed = indexed.convert("P")
    indexed.putpalette(RNG.integers(0, 255, 768).tolist())
    indexed.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "p.png"), np.array(indexed))


def test_labels_in_color_are_refused(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(CellDataError, match="one number per pixel, not RGB"):
        read_label_map(tmp_path / "a.png")


@pytest.mark.parametrize("value", [-1, 0.5, np.nan, np.inf, 1e300])
def test_label_values_that_are_none_are_refused(value):
    with pytest.raises(CellDataError, match="here: label values"):
        check_labels(np.array([[0.0, value]]), "here")
    assert check_labels(np.array([[0.0, 3.0]]), "here").tolist() == [[0, 3]]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_label_map_of_a_kind_that_changes_values_is_refused(tmp_path, kind):
    path = tmp_path / "labels.png"
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(path, format=kind)
    with pytest.raises(CellDataError, match=rf"labels\.png: is a {kind}, which may change the ids"):
        read_label_map(path)
