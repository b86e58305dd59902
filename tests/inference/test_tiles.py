import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg.inference.tiles import is_background, make_tile_grid


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    tile_px=st.integers(64, 700),
    overlap_px=st.integers(0, 63),
    align_px=st.sampled_from([1, 16, 64]),
)
@settings(max_examples=150, deadline=None)
def test_tile_grid_of_any_image_covers_it_with_the_overlap_asked_for(
    height, width, tile_px, overlap_px, align_px
):
    if tile_px - overlap_px < align_px:
        with pytest.raises(ValueError, match="cannot advance"):
            make_tile_grid(height, width, tile_px, overlap_px, align_px)
        return
    tiles = make_tile_grid(height, width, tile_px, overlap_px, align_px)
    for axis, length in ((0, width), (1, height)):
        spans = sorted({(tile[axis], tile[axis + 2]) for tile in tiles})
        cores = sorted({(tile[axis + 4], tile[axis + 6]) for tile in tiles})
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        assert cores[0][0] == 0
        assert cores[-1][1] == length
        for before, after in zip(spans, spans[1:], strict=False):
            assert before[1] - after[0] >= overlap_px
            assert after[0] > before[0]
        for before, after in zip(cores, cores[1:], strict=False):
            assert before[1] == after[0]
        for (start, end), (core_start, core_end) in zip(spans, cores, strict=True):
            assert start % align_px == 0
            assert end - start <= tile_px
            assert start <= core_start < core_end <= end
    assert len(tiles) == len({(tile.x1, tile.y1) for tile in tiles})


def test_tile_grid_of_an_empty_image_is_refused():
    with pytest.raises(ValueError, match="0 x 5"):
        make_tile_grid(0, 5, 64, 8)


@pytest.mark.parametrize("radius", [4, 10])
@pytest.mark.parametrize("place", [(3, 3), (60, 130), (255, 255)])
def test_background_with_one_cell_is_not_background(radius, place):
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:256, :256]
    tile = np.clip(rng.normal(232, 4, (256, 256, 3)), 0, 255)
    inside = (rows - place[0]) ** 2 + (columns - place[1]) ** 2 <= radius**2
    tile[inside] = (150, 110, 170)
    assert not is_background(tile.astype(np.uint8))


def test_background_when_noisy_and_unevenly_lit_is_background():
    rng = np.random.default_rng(0)
    light = np.linspace(200, 245, 512)[:, None, None] + np.linspace(-8, 8, 512)[None, :, None]
    tile = np.clip(light + rng.normal(0, 4, (512, 512, 3)), 0, 255).astype(np.uint8)
    assert is_background(tile)
    assert not is_background(tile, flat_range=0)


@pytest.mark.parametrize("shape", [(0, 5, 3), (1, 1, 3), (3, 700, 3)])
def test_background_of_odd_sizes_is_told(shape):
    assert is_background(np.full(shape, 240, dtype=np.uint8))
