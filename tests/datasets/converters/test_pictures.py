import numpy as np
import pytest
import tifffile
from PIL import Image

from cellseg.datasets.converters.pictures import check_labels, read_image, read_labels
from cellseg.datasets.tiff_io import CellDataError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 255, (8, 9, 3), dtype=np.uint8)
GREY16 = RNG.integers(0, 65_535, (8, 9), dtype=np.uint16)


def test_picture_when_read_then_red_is_first_and_alpha_is_gone(tmp_path):
    Image.fromarray(np.dstack([RGB, RGB[..., 0]]), "RGBA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)
    Image.fromarray(GREY16).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), GREY16)
    Image.fromarray(RGB[..., 0] > 99).save(tmp_path / "c.png")
    np.testing.assert_array_equal(read_image(tmp_path / "c.png"), (RGB[..., 0] > 99) * 255)


def test_tiff_when_read_then_red_is_first_and_values_are_kept(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB[..., ::-1], photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", "bgr"), RGB)
    tifffile.imwrite(tmp_path / "b.svs", RGB, photometric="rgb", tile=(16, 16))
    np.testing.assert_array_equal(read_image(tmp_path / "b.svs"), RGB)
    tifffile.imwrite(tmp_path / "c.tiff", GREY16)
    np.testing.assert_array_equal(read_image(tmp_path / "c.tiff"), GREY16)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.bmp"])
def test_image_when_truncated_or_missing_then_error_names_it(tmp_path, name):
    path = tmp_path / name
    noise = RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    with pytest.raises(CellDataError, match=f"{name}: no such file"):
        read_image(path)
    if path.suffix == ".tif":
        tifffile.imwrite(path, noise, photometric="rgb")
    else:
        Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(CellDataError, match=f"{name}: .*(truncated|damaged)"):
            read_image(path)


def test_picture_that_declares_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("cellseg.datasets.converters.pictures.DEFAULT_MAX_PIXELS", 50)
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(CellDataError, match="more than the limit"):
        read_image(tmp_path / "a.png")


def test_labels_when_read_then_ids_are_kept(tmp_path):
    Image.fromarray(GREY16).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), GREY16)
    tifffile.imwrite(tmp_path / "a.tif", GREY16.astype(np.int32) + 70_000)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), GREY16.astype(int) + 70_000)
    indexed = Image.fromarray(RGB[..., 0])
    indexed = indexed.convert("P")
    indexed.putpalette(RNG.integers(0, 255, 768).tolist())
    indexed.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "p.png"), np.array(indexed))


def test_labels_in_colour_are_refused(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(CellDataError, match="one number a pixel, not RGB"):
        read_labels(tmp_path / "a.png")


@pytest.mark.parametrize("value", [-1, 0.5, np.nan, np.inf, 1e300])
def test_label_values_that_are_none_are_refused(value):
    with pytest.raises(CellDataError, match="here: label values"):
        check_labels(np.array([[0.0, value]]), "here")
    assert check_labels(np.array([[0.0, 3.0]]), "here").tolist() == [[0, 3]]
