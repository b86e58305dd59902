from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile

from cellseg.errors import CellDataError
from cellseg.images import check_image_format, open_image, read_cell_image
from cellseg.images.opening import RegionSource
from cellseg.images.tiff_image import TiffImage

REGIONS = [(0, 0, 330, 290), (37, 101, 150, 120), (329, 289, 1, 1), (120, 120, 16, 16)]
LAYOUTS = {
    "tiled": dict(tile=(128, 128), compression="zlib"),
    "jpeg": dict(tile=(128, 128), compression="jpeg"),
    "strips": dict(rowsperstrip=50, compression="lzw", predictor=True),
    "uncompressed": {},
    "big_endian_bigtiff": dict(tile=(64, 96), bigtiff=True, byteorder=">"),
}


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (290, 330, 3), dtype=np.uint8)


def open_source(path, image_format=None, level=0):
    return RegionSource(TiffImage(path), level, check_image_format(image_format or {}))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_regions_of_any_layout_equal_the_image_read_whole(tmp_path, image, layout, order):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image, photometric="rgb", **LAYOUTS[layout])
    whole = read_cell_image(path, {"channel_order": order})
    with open_source(path, {"channel_order": order}) as source:
        for x, y, width, height in REGIONS:
            region = source.read(x, y, width, height)
            np.testing.assert_array_equal(region, whole[y : y + height, x : x + width])


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (np.s_[..., 0], dict(photometric="minisblack")),
        (np.s_[:, :, [0, 1, 2, 0]], dict(photometric="rgb")),
    ],
)
def test_regions_of_grey_and_rgba_equal_the_image_read_whole(tmp_path, image, pixels, options):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image[pixels], tile=(128, 128), **options)
    with open_source(path) as source:
        np.testing.assert_array_equal(
            source.read(9, 8, 200, 150), read_cell_image(path)[8:158, 9:209]
        )


def test_regions_of_separate_planes_equal_the_image_read_whole(tmp_path, image):
    path = tmp_path / "image.tif"
    planes = image.transpose(2, 0, 1)
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", tile=(64, 64))
    with open_source(path) as source:
        np.testing.assert_array_equal(
            source.read(9, 8, 200, 150), read_cell_image(path)[8:158, 9:209]
        )


def test_regions_of_16_bit_values_are_mapped_as_when_read_whole(tmp_path, image):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image.astype(np.uint16) * 200, photometric="rgb", tile=(128, 128))
    image_format = {"intensity_range": (1000, 40000)}
    with open_source(path, image_format) as source:
        np.testing.assert_array_equal(
            source.read(9, 8, 200, 150), read_cell_image(path, image_format)[8:158, 9:209]
        )


def test_regions_of_16_bit_values_by_percentile_are_near_those_read_whole(tmp_path, image):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image.astype(np.uint16) * 200, photometric="rgb", tile=(128, 128))
    image_format = {"intensity_range": {"percentile": (1, 99)}}
    with open_source(path, image_format) as source:
        difference = source.read(0, 0, 330, 290).astype(int) - read_cell_image(path, image_format)
    assert np.abs(difference).max() <= 4


def test_16_bit_values_without_a_range_are_refused(tmp_path, image):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image.astype(np.uint16), photometric="rgb")
    with pytest.raises(CellDataError, match="not 8 bit"):
        open_source(path)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 290, 330, 3), dict(photometric="rgb")),
        ((4, 290, 330), dict(photometric="minisblack", ome=True, metadata={"axes": "CYX"})),
        ((3, 290, 330), dict(imagej=True)),
    ],
)
def test_stack_is_refused_and_not_read_as_its_first_image(tmp_path, shape, options):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, np.ones(shape, np.uint8), **options)
    with pytest.raises(CellDataError, match=r"image\.tif: is a stack of several images"):
        open_source(path)


def test_cache_when_small_is_kept_small_and_changes_nothing(tmp_path, image, monkeypatch):
    monkeypatch.setattr("cellseg.images.tiff_image._CACHE_BYTES", 3 * 64 * 64 * 3)
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image, photometric="rgb", tile=(64, 64), compression="zlib")
    with open_source(path) as source:
        np.testing.assert_array_equal(source.read(0, 0, 330, 290), image[..., ::-1])
        assert len(source._stored._cache) <= 3


def test_read_when_many_threads_read_at_once_then_is_what_one_reads(tmp_path, monkeypatch):
    monkeypatch.setattr("cellseg.images.tiff_image._CACHE_BYTES", 4 * 32 * 32 * 3)
    image = np.random.default_rng(0).integers(0, 256, (300, 420, 3), np.uint8)
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image, photometric="rgb", tile=(32, 32), compression="zlib")
    places = [(x, y) for y in range(0, 236, 20) for x in range(0, 356, 20)] * 3
    with open_source(path) as source, ThreadPoolExecutor(8) as threads:
        regions = list(threads.map(lambda place: source.read(*place, 64, 64), places))
        cached = source._stored._cache.values()
        assert source._stored._cached_bytes == sum(part.nbytes for part in cached)
    for (x, y), region in zip(places, regions, strict=True):
        np.testing.assert_array_equal(region, image[y : y + 64, x : x + 64, ::-1])


def test_levels_of_a_pyramid_are_found_with_their_pixel_size(tmp_path, image):
    path = tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as writer:
        options = dict(photometric="rgb", tile=(64, 64), resolutionunit="CENTIMETER")
        writer.write(image, subifds=1, resolution=(40000, 40000), **options)
        writer.write(image[::2, ::2], subfiletype=1, resolution=(20000, 20000), **options)
    with TiffImage(path) as image_file:
        assert image_file.levels == ((290, 330), (145, 165))
        assert image_file.downsamples == (1.0, 2.0)
        assert image_file.read_pixel_size().side_um == pytest.approx(0.25)
    with open_source(path, level=1) as source:
        np.testing.assert_array_equal(source.read(3, 5, 70, 60), image[::2, ::2][5:65, 3:73, ::-1])


def test_damaged_tile_is_reported_with_its_place(tmp_path, image):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image, photometric="rgb", tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[-1], tiff.pages[0].databytecounts[-1]
    content = bytearray(path.read_bytes())
    content[offset : offset + count] = bytes(count)
    path.write_bytes(content)
    with open_source(path) as source:
        source.read(0, 0, 64, 64)
        with pytest.raises(CellDataError, match="near column 300, row 270"):
            source.read(300, 270, 30, 20)


def test_file_that_is_no_tiff_is_refused(tmp_path):
    path = tmp_path / "image.tif"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(CellDataError, match=r"image\.tif"):
        TiffImage(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda level: level.astype(np.float32),
        lambda level: level.astype(np.uint16) * 257,
        lambda level: level[..., 0],
        lambda level: level[:4],
        lambda level: np.tile(level, (3, 3, 1)),
    ],
    ids=["of floats", "of 16 bit", "gray", "of another shape", "larger"],
)
def test_level_that_is_not_the_image_made_smaller_is_not_used(tmp_path, change):
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    path = tmp_path / "file.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(image, photometric="rgb", subifds=1)
        level = change(image[::2, ::2])
        writer.write(level, photometric="rgb" if level.ndim == 3 else "minisblack")
    tifffile.imwrite(tmp_path / "flat.tif", image, photometric="rgb")
    regions = []
    for name in ("file.tif", "flat.tif"):
        with open_image(tmp_path / name, mpp=1.0, pixel_size_um=0.5) as source:
            regions.append(source.read(0, 0, 64, 48))
    assert regions[0].dtype == np.uint8
    np.testing.assert_array_equal(*regions)
