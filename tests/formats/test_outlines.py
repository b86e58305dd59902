import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellseg.formats.outlines import outline_masks
from cellseg.structures.cell_masks import CellMasks
from cellseg.structures.rle import encode_crop
from cellseg.structures.runs import Crop


def outline(mask, x0=0, y0=0, height=20, width=20):
    return next(outline_masks(CellMasks.from_crops([Crop(mask, x0, y0)], height, width)))


@given(
    mask=hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)),
    x0=st.integers(0, 12),
    y0=st.integers(0, 12),
)
@settings(max_examples=300, deadline=None)
def test_outline_of_any_mask_is_valid_and_filled_gives_the_mask_back(mask, x0, y0):
    pieces = outline(mask, x0, y0)
    polygons = [shapely.Polygon(piece.exterior, piece.holes) for piece in pieces]
    shape = shapely.MultiPolygon(polygons)
    assert shape.is_valid, shapely.is_valid_reason(shape)
    assert all(shapely.LinearRing(piece.exterior).is_ccw for piece in pieces)
    assert not any(shapely.LinearRing(hole).is_ccw for piece in pieces for hole in piece.holes)
    expected = np.zeros((20, 20), dtype=bool)
    expected[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]] = mask
    rows, columns = np.mgrid[:20, :20]
    filled = shapely.contains_xy(shape, columns + 0.5, rows + 0.5)
    np.testing.assert_array_equal(filled, expected)
    assert shape.area == mask.sum()


def test_outline_of_a_ring_has_its_hole():
    mask = np.ones((5, 5), dtype=bool)
    mask[2, 2] = False
    (piece,) = outline(mask)
    assert sorted(map(tuple, piece.exterior.tolist())) == [(0, 0), (0, 5), (5, 0), (5, 5)]
    assert sorted(map(tuple, piece.holes[0].tolist())) == [(2, 2), (2, 3), (3, 2), (3, 3)]


def test_outline_of_pixels_that_meet_at_a_corner_has_two_pieces():
    assert len(outline(np.eye(2, dtype=bool))) == 2


def test_outline_of_an_empty_mask_has_no_piece():
    assert outline(np.zeros((3, 3), dtype=bool)) == []


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_outlines_in_blocks_are_the_same(monkeypatch, block):
    rng = np.random.default_rng(0)
    rles = [encode_crop(rng.random((6, 6)) < 0.6, 2, 2, 10, 10) for _ in range(10)]
    masks = CellMasks(10, 10, rles=rles)
    expected = [[piece.exterior.tolist() for piece in cell] for cell in outline_masks(masks)]
    monkeypatch.setattr("cellseg.formats.outlines._BLOCK_CELLS", block)
    assert [
        [piece.exterior.tolist() for piece in cell] for cell in outline_masks(masks)
    ] == expected
