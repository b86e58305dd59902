"""How images are cut into tiles, and tiles grouped into batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg.errors import CellDataError, CellsegError
from cellseg.images import ArraySource
from cellseg.inference.tile_plan import (
    LEAST_TILE_PX,
    TileOptions,
    check_tiling,
    group_tiles,
    plan_tiles,
    read_tiles,
)
from cellseg.inference.tiles import make_tile_grid

INPUT_SIZE = (512, 512)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 2500),
    width=st.integers(1, 2500),
    batch_size=st.integers(1, 7),
    whole=st.sampled_from([None, True, False]),
)
def test_plan_of_any_image_covers_it_with_batches_of_equal_tiles(height, width, batch_size, whole):
    options = TileOptions(tile_px=256, overlap_px=32, batch_size=batch_size, whole=whole)
    plan = plan_tiles(height, width, options, INPUT_SIZE)
    assert sum((t.core_x2 - t.core_x1) * (t.core_y2 - t.core_y1) for t in plan.tiles) == (
        height * width
    )
    indices = [index for batch in plan.batches for index in batch]
    assert sorted(indices) == list(range(len(plan.tiles)))
    assert list(plan.batches) == sorted(plan.batches)
    for batch in plan.batches:
        assert len(batch) <= batch_size
        assert len({(plan.tiles[i].height, plan.tiles[i].width) for i in batch}) == 1
    is_whole = max(height, width) <= 512 if whole is None else whole
    if is_whole:
        assert len(plan.tiles) == 1
        assert plan.scale is None
    assert plan == plan_tiles(height, width, options, INPUT_SIZE)  # in every process


def test_plan_when_no_side_is_given_then_the_networks_input_but_not_too_small():
    for input_size, scale, side in (
        ((256, 256), None, LEAST_TILE_PX),
        ((1024, 768), None, 1024),
        ((1024, 768), 2.0, LEAST_TILE_PX),
        ((1024, 768), 0.5, 2048),
        ((1024, 768), 8.0, 256),
        ((1024, 768), 64.0, 32),
    ):
        plan = plan_tiles(5000, 5000, TileOptions(scale=scale, whole=False), input_size)
        assert plan.tiles[0].width == side
        assert plan.scale == (scale or 1.0)


@pytest.mark.parametrize(("scale", "tile_px"), [(0.5, 512), (1.0, 512), (1.6, 520), (2.0, 512)])
def test_plan_when_scaled_then_tiles_start_at_whole_strides_of_the_network(scale, tile_px):
    options = TileOptions(tile_px=512, overlap_px=64, scale=scale, whole=False)
    tiles = plan_tiles(1500, 1300, options, INPUT_SIZE).tiles
    assert {tile.width for tile in tiles if tile.x2 < 1300} == {tile_px}
    for side in {side for tile in tiles for side in (tile.x1, tile.y1)}:
        assert side * scale % 64 == pytest.approx(0)


def test_tiling_when_tiles_cannot_advance_then_refused_unless_images_are_whole():
    with pytest.raises(CellsegError, match="128 px with 200 px overlap cannot advance"):
        check_tiling(TileOptions(tile_px=100, overlap_px=200), INPUT_SIZE)
    check_tiling(TileOptions(tile_px=100, overlap_px=200, whole=True), INPUT_SIZE)


def test_group_when_border_tiles_are_smaller_then_they_are_apart():
    assert group_tiles([], 3) == ()
    tiles = make_tile_grid(300, 300, 256, 128, 1)
    groups = group_tiles(tiles, 100)
    assert len(groups) == len({(tile.height, tile.width) for tile in tiles})


@pytest.mark.parametrize(
    "options",
    [
        {"tile_px": 0},
        {"overlap_px": -1},
        {"scale": 0.0},
        {"scale": 1e6},
        {"scale": float("nan")},
        {"scale": float("inf")},
        {"batch_size": 0},
    ],
)
def test_tile_options_that_make_no_sense_are_refused(options):
    with pytest.raises(CellsegError, match="must be"):
        TileOptions(**options)


@pytest.mark.parametrize("num_readers", [1, 3, 50])
def test_read_tiles_when_several_threads_read_then_comes_in_order(num_readers):
    image = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    image[:256, :256] = 230
    plan = plan_tiles(700, 900, TileOptions(tile_px=256, overlap_px=32, whole=False), INPUT_SIZE)
    wanted = plan.batches[1:] + plan.batches[:1]
    read = list(read_tiles(ArraySource(image), plan, wanted, True, num_readers))
    assert [batch for batch, _ in read] == list(wanted)
    for batch, tiles in read:
        for index, tile in zip(batch, tiles, strict=True):
            place = plan.tiles[index]
            assert (tile is None) == (index == 0)
            if tile is not None:
                np.testing.assert_array_equal(tile, image[place.y1 : place.y2, place.x1 : place.x2])


def test_read_tiles_when_one_cannot_be_read_then_reads_no_more_than_is_ahead():
    class Damaged(ArraySource):
        reads = 0

        def read(self, x, y, width, height):
            self.reads += 1
            if (x, y) != (0, 0):
                raise CellDataError("damaged")
            return super().read(x, y, width, height)

    source = Damaged(np.zeros((3000, 3000, 3), np.uint8))
    options = TileOptions(tile_px=256, overlap_px=32, whole=False, batch_size=1)
    plan = plan_tiles(3000, 3000, options, INPUT_SIZE)
    tiles = read_tiles(source, plan, plan.batches, False, 2)
    assert next(tiles)[0] == (0,)
    with pytest.raises(CellDataError, match="damaged"):
        next(tiles)
    assert source.reads <= 4
