import struct
import sys
import types

import cv2
import numpy as np
import pytest
import tifffile

from cellseg.datasets.tiff_io import CellDataError, read_cell_image
from cellseg.inference.sources import (
    ArraySource,
    OpenSlideSource,
    ResampledSource,
    open_image,
    read_opened_size,
)
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


@pytest.mark.parametrize("mpp", [None, 0.25, 0.505, 0.75, 0.125])
@pytest.mark.parametrize("kind", [".tif", ".png", "pyramid"])
def test_size_read_beforehand_is_that_of_the_image_opened(tmp_path, image, pyramid, kind, mpp):
    path = pyramid
    if kind != "pyramid":
        path = tmp_path / f"image{kind}"
        cv2.imwrite(str(path), image)
    with open_image(path, mpp=mpp, pixel_size_um=0.25) as source:
        size = read_opened_size(path, mpp, 0.25)
        assert size == (source.height, source.width)


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


@pytest.fixture(params=["with OpenSlide", "without"])
def openslide_or_not(request, monkeypatch):
    """Run a test with OpenSlide, where it is installed, and without."""
    if request.param == "without":
        monkeypatch.setitem(sys.modules, "openslide", None)
    else:
        pytest.importorskip("openslide")


@pytest.mark.parametrize(("mpp", "step"), [(None, 1), (0.5, 1), (1.0, 2)])
def test_slide_of_aperio_gives_its_levels_and_pixel_size(
    tmp_path, image, openslide_or_not, mpp, step
):
    path = tmp_path / "slide.svs"
    first = "Aperio Image Library v12.0.15\r\n300x240 [0,0 300x240] (64x64)|AppMag = 20|MPP = 0.5"
    rgb, options = image[..., ::-1], dict(photometric="rgb", metadata=None)
    with tifffile.TiffWriter(path) as writer:
        writer.write(rgb, tile=(64, 64), description=first, **options)
        writer.write(rgb[::5, ::5], description="Aperio thumbnail", **options)
        writer.write(rgb[::2, ::2], tile=(64, 64), description="Aperio Image", **options)
        writer.write(rgb[:40, :30], description="Aperio\r\nlabel 30x40", subfiletype=1, **options)
        writer.write(rgb[:30, :90], description="Aperio\r\nmacro 90x30", subfiletype=9, **options)
    with open_image(path, {"channel_order": "bgr"}, mpp) as source:  # that of other files
        assert (source.height, source.width) == (240 // step, 300 // step)
        assert (source.downsample, source.pixel_size_um) == (step, 0.5 * step)
        wanted = image[::step, ::step][5:65, 3:73]
        np.testing.assert_array_equal(source.read(3, 5, 70, 60), wanted)


def write_ndpi(path, rgb, tile=(304, 240)):
    """Write an image of one tile as NDPI: a TIFF of 32-bit tags whose page offsets have 64 bits."""
    height, width = rgb.shape[:2]
    padded = np.zeros((tile[1], tile[0], 3), np.uint8)
    padded[:height, :width] = rgb
    bits_at, tile_at = 12, 18
    page_at = tile_at + padded.nbytes
    short, long = 3, 4
    tags = [
        *((256, short, 1, width), (257, short, 1, height), (258, short, 3, bits_at)),
        *((259, short, 1, 1), (262, short, 1, 2), (277, short, 1, 3), (284, short, 1, 1)),
        *((322, short, 1, tile[0]), (323, short, 1, tile[1])),
        *((324, long, 1, tile_at), (325, long, 1, padded.nbytes)),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    page = struct.pack("<H", len(tags)) + entries + struct.pack("<Q", 0) + bytes(4 * len(tags))
    head = struct.pack("<2sHQ", b"II", 42, page_at) + struct.pack("<HHH", 8, 8, 8)
    path.write_bytes(head + padded.tobytes() + page)


@pytest.mark.parametrize("with_openslide", [False, True])
def test_slide_of_hamamatsu_is_read(tmp_path, image, monkeypatch, with_openslide):
    path = tmp_path / "slide.ndpi"
    if with_openslide:  # which takes the bytes of a tiled TIFF under this name
        pytest.importorskip("openslide")
        tifffile.imwrite(path, image[..., ::-1], photometric="rgb", tile=(64, 64))
    else:
        monkeypatch.setitem(sys.modules, "openslide", None)
        write_ndpi(path, image[..., ::-1])
    with open_image(path, {"channel_order": "bgr"}) as source:  # that of other files
        assert (source.height, source.width) == (240, 300)
        np.testing.assert_array_equal(source.read(3, 5, 70, 60), image[5:65, 3:73])


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
    assert read_opened_size(path, mpp=0.5) == (24, 32)
    with open_image(path, mpp=0.5) as source:
        assert (source.height, source.width, source.downsample) == (24, 32, 2.0)
        region = source.read(2, 3, 20, 10)
    assert (region[:, :2] == 255).all()
    np.testing.assert_array_equal(region[:, 2:], pixels[6:26:2, 8:44:2, 2::-1])
