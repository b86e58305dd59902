"""Tiles of images with and without levels; nothing is loaded whole."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from cellseg.errors import CellDataError
from cellseg.images import ArraySource, ImageSource, open_image
from cellseg.web import tile_pyramid
from cellseg.web.tile_pyramid import TILE_PX, TilePyramid


class Watched(ImageSource):
    """A smooth image that is made where it is read, and notes the largest region."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.largest = 0

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        self.largest = max(self.largest, width * height)
        columns = np.arange(x, x + width) * 255 // self.width
        rows = np.arange(y, y + height) * 255 // self.height
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[..., 0], pixels[..., 1] = columns, rows[:, None]
        return pixels


def make(source: ImageSource) -> TilePyramid:
    def refuse(factor: float) -> ImageSource:
        raise AssertionError(f"level {factor} was opened")

    return TilePyramid(source, refuse)


def decode(content: bytes | None) -> np.ndarray:
    assert content is not None
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (300, 200), (512, 513), (3000, 1100)])
def test_pyramid_then_tiles_of_each_level_cover_the_image(width: int, height: int) -> None:
    pyramid = make(Watched(width, height))
    for level in range(pyramid.highest + 1):
        factor = 2 ** (pyramid.highest - level)
        across, down = -(-width // factor), -(-height // factor)
        found = np.zeros((down, across), bool)
        for row in range(-(-down // TILE_PX)):
            for column in range(-(-across // TILE_PX)):
                tile = decode(pyramid.encode_tile(level, column, row))
                y, x = row * TILE_PX, column * TILE_PX
                found[y : y + tile.shape[0], x : x + tile.shape[1]] = True
        assert found.all()
    assert pyramid.encode_tile(0, 1, 0) is None
    assert pyramid.encode_tile(pyramid.highest + 1, 0, 0) is None
    assert pyramid.encode_tile(0, 0, 0) is not None


def test_pyramid_of_a_large_image_then_no_large_region_is_read() -> None:
    source = Watched(20_000, 20_000)
    pyramid = make(source)
    tile = decode(pyramid.encode_tile(0, 0, 0))
    assert source.largest <= tile_pyramid._BLOCK_PX**2
    expected = np.arange(tile.shape[1]) * 255 / tile.shape[1]
    np.testing.assert_allclose(tile[100, :, 0], expected, atol=4)
    np.testing.assert_allclose(tile[:, 100, 1], expected, atol=4)


def test_pyramid_at_full_resolution_then_pixels_are_those_of_the_image() -> None:
    image = np.random.default_rng(0).integers(60, 190, (40, 50, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 2)
    pyramid = make(ArraySource(image))
    difference = decode(pyramid.encode_tile(0, 0, 0)).astype(int) - image
    assert np.abs(difference).max() <= 6


def test_pyramid_when_the_file_has_levels_then_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "levels.tif"
    with tifffile.TiffWriter(path) as writer:
        for index, side in enumerate((4096, 2048, 1024)):
            image = np.full((side, side, 3), 60 + 60 * index, np.uint8)
            options = {"subifds": 2} if index == 0 else {"subfiletype": 1}
            writer.write(image, tile=(256, 256), photometric="rgb", compression="zlib", **options)
    source = open_image(path)
    assert len(source.levels) == 3
    opened = []

    def open_level(factor: float) -> ImageSource:
        opened.append(factor)
        return open_image(path, mpp=factor, pixel_size_um=1.0)

    pyramid = TilePyramid(source, open_level)
    levels = [int(decode(pyramid.encode_tile(level, 0, 0)).mean().round()) for level in range(4)]
    assert levels == [180, 180, 120, 60]
    assert sorted(opened) == [2.0, 4.0]
    pyramid.close()
    with pytest.raises(CellDataError, match="closed"):
        pyramid.encode_tile(0, 0, 0)


def test_pyramid_when_a_part_is_damaged_then_other_tiles_come(tmp_path: Path) -> None:
    path = tmp_path / "damaged.tif"
    image = np.random.default_rng(0).integers(0, 255, (4608, 4096, 3), np.uint8)
    tifffile.imwrite(path, image, tile=(512, 512), photometric="rgb", compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(2000))
    with open_image(path) as source:
        pyramid = make(source)
        with pytest.raises(CellDataError):
            pyramid.encode_tile(pyramid.highest, 0, 0)
        assert decode(pyramid.encode_tile(pyramid.highest, 1, 1)).shape == (512, 512, 3)
