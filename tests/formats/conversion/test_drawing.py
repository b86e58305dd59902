import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from cellseg.formats.conversion.annotations import UnusableAnnotationError
from cellseg.formats.conversion.drawing import draw_polygons, draw_rle, fill_ring, list_labels
from cellseg.formats.outlines import outline_masks
from cellseg.structures.cell_masks import CellMasks
from cellseg.structures.rle import encode_label_map

SHAPE = (20, 30)


def place(drawing, shape=SHAPE):
    """Return a drawing's mask in the whole image."""
    mask, x0, y0 = drawing.crop
    full = np.zeros(shape, bool)
    full[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]] = mask
    return full


def to_polygons(rle):
    """Outline a mask as GeoJSON does."""
    return [
        [ring.tolist() for ring in (piece.exterior, *piece.holes)]
        for piece in next(outline_masks(CellMasks(*SHAPE, rles=[rle])))
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 0.95))
def test_polygons_outlined_then_drawn_are_the_same_pixels(seed, density):
    mask = np.random.default_rng(seed).random(SHAPE) < density
    if not mask.any():
        return
    rle = encode_label_map(mask.astype(np.int32))[3][0]
    np.testing.assert_array_equal(place(draw_polygons(to_polygons(rle), *SHAPE)), mask)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(3, 12))
def test_ring_when_drawn_then_shapely_finds_the_same_centers_inside(seed, corners):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.random(corners)) * 2 * np.pi
    radii = rng.uniform(2, 18, corners)
    ring = np.stack((15 + radii * np.cos(angles), 10 + radii * np.sin(angles)), axis=1)
    polygon = shapely.Polygon(ring)
    if not polygon.is_valid:
        return
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    expected = shapely.contains_xy(polygon, columns, rows)
    np.testing.assert_array_equal(fill_ring(ring, *SHAPE), expected)


def test_neighboring_polygons_share_no_pixel_and_leave_none_out():
    left = [[(0, 0), (7.5, 0), (12.5, 20), (0, 20)]]
    right = [[(7.5, 0), (30, 0), (30, 20), (12.5, 20)]]
    total = sum(place(draw_polygons([part], *SHAPE)).astype(int) for part in (left, right))
    assert (total == 1).all()


def test_polygon_with_hole_and_second_piece_when_drawn_then_hole_is_empty():
    ring, hole = [(2, 2), (12, 2), (12, 12), (2, 12)], [(4, 4), (8, 4), (8, 8), (4, 8), (4, 4)]
    piece = [(20, 0), (22, 0), (22, 3), (20, 3)]
    drawn = place(draw_polygons([[ring, hole], [piece]], *SHAPE))
    assert drawn.sum() == 100 - 16 + 6
    assert not drawn[4:8, 4:8].any()


def test_ring_that_crosses_itself_when_drawn_then_all_it_winds_around_is_inside():
    turns = [(2, 2), (12, 2), (12, 12), (2, 12)]
    assert place(draw_polygons([[turns + turns]], *SHAPE)).sum() == 100
    eight = [(0, 0), (10, 10), (10, 0), (0, 10)]
    assert place(draw_polygons([[eight]], *SHAPE)).sum() == pytest.approx(50, abs=6)


@pytest.mark.parametrize("block", [1, 64, 2**22])
def test_ring_when_drawn_in_blocks_then_the_same(block, monkeypatch):
    monkeypatch.setattr("cellseg.formats.conversion.drawing._BLOCK", block)
    ring = np.array([(1.3, -4), (33, 6.2), (14, 7.5), (20.2, 27.1), (-3.3, 12.1)])
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    expected = shapely.contains_xy(shapely.Polygon(ring), columns, rows)
    np.testing.assert_array_equal(fill_ring(ring, *SHAPE), expected)


def test_polygon_beyond_the_edge_when_drawn_then_cut_and_said():
    drawing = draw_polygons([[[(-5, -5), (5, -5), (5, 5), (-5, 5)]]], *SHAPE)
    assert place(drawing).sum() == 25
    assert drawing.changes == ("cut at the image's edge",)
    barely = draw_polygons([[[(-0.4, 0), (5, 0), (5, 5)]]], *SHAPE)
    assert barely.changes == ()


@pytest.mark.parametrize(
    ("ring", "reason"),
    [
        ([], "fewer than 3 points"),
        ([(1, 1), (5, 5)], "fewer than 3 points"),
        ([(1, 1), (5, 5), (1, 1)], "fewer than 3 points"),
        ([(1, 1), (5, 5), (9, 9)], "covers no pixel"),
        ([(1.1, 1.1), (1.3, 1.1), (1.2, 1.3)], "covers no pixel"),
        ([(40, 1), (50, 1), (50, 9)], "lies outside the image"),
        ([(math.nan, 1), (50, 1), (50, 9)], "not finite"),
        ([(1, 1), (math.inf, 1), (50, 9)], "not finite"),
        ([(1, 1), (1e300, 1), (50, 9)], "absurdly large"),
        ([(1, 1), ("x", 1), (50, 9)], "must be a list of x, y"),
        ([(1, 1), (2,), (50, 9)], "must be a list of x, y"),
        ([1, 2, 3], "must be a list of x, y"),
        ({"x": 1}, "must be a list of x, y"),
    ],
)
def test_polygon_when_of_no_use_then_reason(ring, reason):
    with pytest.raises(UnusableAnnotationError, match=reason):
        draw_polygons([[ring]], *SHAPE)


def test_polygon_when_a_piece_is_of_no_use_then_the_others_are_drawn():
    square = [(1, 1), (3, 1), (3, 3), (1, 3)]
    drawing = draw_polygons([[[(9, 9)]], [square, [(1, 1), (2, 2)]]], *SHAPE)
    assert place(drawing).sum() == 4
    assert len(drawing.changes) == 2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.01, 1))
def test_rle_when_drawn_then_as_pycocotools_decodes_it(seed, density):
    mask = np.random.default_rng(seed).random(SHAPE) < density
    mask[0, 0] = True
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    rle["counts"] = rle["counts"].decode()
    np.testing.assert_array_equal(place(draw_rle(rle, *SHAPE)), mask)
    flat = mask.T.ravel()
    cuts = np.flatnonzero(np.diff(flat)) + 1
    counts = [0, *np.diff(np.concatenate(([0], cuts, [flat.size]))).tolist()]
    plain = {"size": list(SHAPE), "counts": counts}
    np.testing.assert_array_equal(place(draw_rle(plain, *SHAPE)), mask)


@pytest.mark.parametrize(
    ("size", "counts", "reason"),
    [
        ([20, 31], [600], "not of the image's size"),
        (None, [600], "not of the image's size"),
        ([20, 30], [600], "covers no pixel"),
        ([20, 30], [100, 5], "damaged"),
        ([20, 30], [100, 501], "damaged"),
        ([20, 30], [100, -5, 505], "damaged"),
        ([20, 30], [2**63, 1], "damaged"),
        ([20, 30], [0.5, 599.5], "damaged"),
        ([20, 30], [], "damaged"),
        ([20, 30], None, "damaged"),
        ([20, 30], "", "damaged"),
        ([20, 30], "~~~", "damaged"),
        ([20, 30], "oooooooooooooooooooooooo", "damaged"),
        ([20, 30], "1PPPPPPPPPPPPPPPPPPPPP", "damaged"),
        ([20, 30], "PPo03", "damaged"),
    ],
)
def test_rle_when_of_no_use_then_reason(size, counts, reason):
    segmentation = {"counts": counts} if size is None else {"size": size, "counts": counts}
    with pytest.raises(UnusableAnnotationError, match=reason):
        draw_rle(segmentation, *SHAPE)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=20))
def test_rle_of_any_text_when_drawn_then_mask_or_reason(counts):
    try:
        drawn = place(draw_rle({"size": list(SHAPE), "counts": counts}, *SHAPE))
    except UnusableAnnotationError:
        return
    assert drawn.any()


def test_rle_when_cut_short_at_any_place_then_damaged():
    mask = np.random.default_rng(0).random(SHAPE) < 0.4
    counts = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    for length in range(len(counts)):
        with pytest.raises(UnusableAnnotationError, match="damaged"):
            draw_rle({"size": list(SHAPE), "counts": counts[:length]}, *SHAPE)


@pytest.mark.parametrize("background", [True, False])
def test_labels_when_listed_then_each_is_drawn(background):
    label_map = np.full(SHAPE, 0 if background else 3)
    label_map[2:5, 4:9] = 70_000
    label_map[10:12, 20:22] = 7
    label_map[19, 0] = 7
    drawn = {a.label: place(a.draw(*SHAPE)) for a in list_labels(label_map, "cell")}
    ids = [7, 70_000] if background else [3, 7, 70_000]
    assert list(drawn) == [f"label {number}" for number in ids]
    for number in ids:
        np.testing.assert_array_equal(drawn[f"label {number}"], label_map == number)
