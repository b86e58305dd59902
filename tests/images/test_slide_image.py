import struct
import sys
import types

import cv2
import numpy as np
import pytest
import tifffile

from cellseg.errors import CellDataError
from cellseg.images import open_image, read_opened_size
from cellseg.images.slide_image import SlideImage


@pytest.fixture
def image():
    noise = np.random.default_rng(0).integers(0, 256, (240, 300, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def test_openslide_source_of_a_real_file_gives_its_pixels(tmp_path, image):
    pytest.importorskip("openslide")
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, image[..., ::-1], tile=(32, 32), photometric="rgb")
    with SlideImage(path) as slide:
        assert (slide.levels, slide.downsamples) == ((image.shape[:2],), (1.0,))
        region = slide.read_region(0, 11, 7, 40, 30)
        np.testing.assert_array_equal(region, image[7:37, 11:51, ::-1])


def test_slide_when_closed_twice_then_nothing_happens(tmp_path, image):
    pytest.importorskip("openslide")
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, image[..., ::-1], tile=(32, 32), photometric="rgb")
    slide = SlideImage(path)
    slide.close()
    slide.close()


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


class BoundedSlide(FakeSlide):
    """A slide of which the scanner filled only a part."""

    properties = types.MappingProxyType(
        {
            "openslide.mpp-x": "0.25",
            "openslide.mpp-y": "0.25",
            "openslide.bounds-x": "10",
            "openslide.bounds-y": "6",
            "openslide.bounds-width": "41",
            "openslide.bounds-height": "30",
        }
    )


def use_slide(monkeypatch, slide):
    fake = types.ModuleType("openslide")
    fake.OpenSlide, fake.OpenSlideError = slide, OSError
    monkeypatch.setitem(sys.modules, "openslide", fake)


@pytest.mark.parametrize(("mpp", "step", "size"), [(None, 1, (30, 41)), (0.5, 2, (15, 21))])
def test_slide_is_cut_to_its_bounds_as_qupath_shows_it(tmp_path, monkeypatch, mpp, step, size):
    use_slide(monkeypatch, BoundedSlide)
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"x")
    pixels = FakeSlide(path).pixels[6:, 10::]
    assert read_opened_size(path, mpp) == size
    with open_image(path, mpp=mpp) as source:
        assert (source.height, source.width) == size
        assert source.levels == ((30, 41), (15, 21))
        region = source.read(2, 3, 12, 10)
    wanted = pixels[3 * step :: step, 2 * step :: step][:10, :12]
    np.testing.assert_array_equal(region, wanted[..., 2::-1])


def test_slide_whose_bounds_lie_outside_is_read_whole(tmp_path, monkeypatch):
    class OddSlide(FakeSlide):
        properties = types.MappingProxyType(
            {"openslide.bounds-x": "60", "openslide.bounds-y": "99"}
        )

    use_slide(monkeypatch, OddSlide)
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"x")
    assert read_opened_size(path) == (48, 64)


def test_slide_with_unequal_pixel_sides_has_no_single_pixel_size(tmp_path, monkeypatch):
    class LongPixels(FakeSlide):
        properties = types.MappingProxyType({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.5"})

    use_slide(monkeypatch, LongPixels)
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"x")
    with open_image(path) as source:
        assert source.pixel_size_um is None
        assert "0.25 x 0.5 um, which are not square" in source.pixel_size_note


def write_scn(path, scans, overview):
    """Write an overview and scans as a Leica SCN of uncompressed tiles, without OpenSlide's XML."""
    images = [(overview, 100)] + [(scan, 20000) for scan in scans]
    parts = "".join(
        f'<image name="{place}"><pixels sizeX="{rgb.shape[1]}" sizeY="{rgb.shape[0]}">'
        f'<dimension sizeX="{rgb.shape[1]}" sizeY="{rgb.shape[0]}" r="0" ifd="{place}"/>'
        "</pixels></image>"
        for place, (rgb, _) in enumerate(images)
    )
    text = f'<?xml version="1.0"?><scn><collection name="c">{parts}</collection></scn>'
    with tifffile.TiffWriter(path) as writer:
        for place, (rgb, per_cm) in enumerate(images):
            writer.write(
                rgb,
                photometric="rgb",
                metadata=None,
                tile=(64, 64),
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                description=text if place == 0 else None,
            )


def test_scn_without_openslide_gives_the_scan_and_not_the_overview(tmp_path, image, monkeypatch):
    monkeypatch.setitem(sys.modules, "openslide", None)
    path = tmp_path / "slide.scn"
    write_scn(path, [image[..., ::-1]], np.zeros((900, 400, 3), np.uint8))
    with open_image(path) as source:
        assert (source.height, source.width, source.pixel_size_um) == (240, 300, 0.5)
        np.testing.assert_array_equal(source.read(3, 5, 70, 60), image[5:65, 3:73])


def test_scn_of_several_scans_without_openslide_names_the_extra(tmp_path, image, monkeypatch):
    monkeypatch.setitem(sys.modules, "openslide", None)
    path = tmp_path / "slide.scn"
    write_scn(path, [image, image[:100, :90]], np.zeros((90, 40, 3), np.uint8))
    with pytest.raises(CellDataError, match=r"slide\.scn: holds several scans.*the extra slides"):
        open_image(path)


@pytest.mark.parametrize("text", ["about 0.25", ""])
def test_slide_whose_pixel_size_is_no_number_is_read_without(tmp_path, monkeypatch, text):
    class Odd(FakeSlide):
        properties = types.MappingProxyType({"openslide.mpp-x": text})

    use_slide(monkeypatch, Odd)
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"")
    with open_image(path) as source:
        assert source.pixel_size_um is None
        assert source.pixel_size_note == "OpenSlide does not tell its pixel size"


def test_slide_when_its_pixels_cannot_be_used_then_error_names_it(
    tmp_path, image, openslide_or_not
):
    path = tmp_path / "slide.svs"
    tifffile.imwrite(path, image.astype(np.float32), tile=(64, 64), photometric="rgb")
    with pytest.raises(CellDataError, match=r"slide\.svs: "):
        open_image(path)
