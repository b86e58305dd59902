import sys
import types

import cv2
import numpy as np
import pytest
import tifffile

from cellseg.datasets.tiff_io import CellDataError, read_cell_image
from cellseg.inference.sources import ArraySource, OpenSlideSource, ResampledSource, open_image
from cellseg.inference.tiff_source import TiffSource


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
        (None, (240, 300), 1.0, TiffSource),
        (0.25, (240, 300), 1.0, TiffSource),
        (0.5, (120, 150), 2.0, TiffSource),
        (0.505, (120, 150), 2.0, TiffSource),
        (1.0, (60, 75), 4.0, TiffSource),
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


def test_open_image_at_a_pixel_size_when_unknown_says_what_to_give(tmp_path, image):
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), image)
    with pytest.raises(CellDataError, match="--pixel-size"):
        open_image(path, mpp=0.5)
    with open_image(path, mpp=0.5, pixel_size_um=0.25) as source:
        assert (source.height, source.width) == (120, 150)


@pytest.mark.parametrize("factor", [0.5, 1.3, 2.0, 3.7])
def test_resampled_regions_equal_cuts_of_the_whole(image, factor):
    source = ResampledSource(ArraySource(image), factor)
    whole = source.read(0, 0, source.width, source.height).astype(int)
    part = source.read(11, 7, 40, 30)
    assert np.abs(whole[7:37, 11:51] - part).max() <= 1
    expected = cv2.resize(
        image,
        (source.width, source.height),
        interpolation=cv2.INTER_AREA if factor > 1 else cv2.INTER_LINEAR,
    )
    assert np.abs(whole - expected).mean() < 6  # no shift: a pixel's shift gives more than 10


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.tif", None, "no such file"),
        ("bad.png", b"", "cannot be decoded"),
        ("bad.tif", b"II*\x00rubbish", "bad.tif"),
        ("slide.mrxs", b"x", "OpenSlide cannot read it"),
        ("notes.txt", b"x", "the extra slides"),
    ],
)
def test_open_image_of_a_bad_file_names_it(tmp_path, name, content, message):
    if "OpenSlide" in message:
        pytest.importorskip("openslide")
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CellDataError, match=message):
        open_image(path)


def test_open_slide_without_openslide_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openslide", None)
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"x")
    with pytest.raises(CellDataError, match="the extra slides"):
        open_image(path)


def test_openslide_source_of_a_real_file_gives_its_pixels(tmp_path, image):
    pytest.importorskip("openslide")
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, image[..., ::-1], tile=(32, 32), photometric="rgb")
    with OpenSlideSource(path) as source:
        assert (source.height, source.width, source.level_downsamples) == (*image.shape[:2], [1.0])
        np.testing.assert_array_equal(source.read(11, 7, 40, 30), image[7:37, 11:51])


def test_array_source_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="uint8"):
        ArraySource(np.zeros((5, 5, 3)))


class FakeSlide:
    """What OpenSlide offers, over a small array with a transparent rim."""

    properties = types.MappingProxyType({"openslide.mpp-x": "0.25"})
    level_dimensions = ((64, 48), (32, 24))
    level_downsamples = (1.0, 2.0)

    def __init__(self, path):
        rng = np.random.default_rng(0)
        self.pixels = rng.integers(0, 256, (48, 64, 4), dtype=np.uint8)
        self.pixels[..., 3] = 255
        self.pixels[:, :8, 3] = 0

    def read_region(self, origin, level, size):
        step = int(self.level_downsamples[level])
        x, y = origin
        return self.pixels[y : y + size[1] * step : step, x : x + size[0] * step : step]

    def close(self):
        pass


def test_slide_through_openslide_reads_levels_over_white(tmp_path, monkeypatch):
    fake = types.ModuleType("openslide")
    fake.OpenSlide = FakeSlide
    fake.OpenSlideError = OSError
    fake.PROPERTY_NAME_MPP_X = "openslide.mpp-x"
    monkeypatch.setitem(sys.modules, "openslide", fake)
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"x")
    pixels = FakeSlide(path).pixels
    with open_image(path, mpp=0.5) as source:
        assert (source.height, source.width, source.downsample) == (24, 32, 2.0)
        region = source.read(2, 3, 20, 10)
    assert (region[:, :2] == 255).all()
    np.testing.assert_array_equal(region[:, 2:], pixels[6:26:2, 8:44:2, 2::-1])
