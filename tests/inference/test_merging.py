import numpy as np
import pytest

from cellseg.inference.merging import merge_tiles, merge_views, suppress_duplicates
from cellseg.inference.tiles import make_tile_grid
from cellseg.structures.cells import Cells
from cellseg.structures.rle import encode_crop, measure_rles

SIZE = 200


def cells_of(rectangles, scores=None, labels=None):
    """Cells that are rectangles, given as x1, y1, x2, y2."""
    rles = [
        encode_crop(np.ones((y2 - y1, x2 - x1), bool), x1, y1, SIZE, SIZE)
        for x1, y1, x2, y2 in rectangles
    ]
    count = len(rectangles)
    scores = [0.9] * count if scores is None else scores
    labels = [0] * count if labels is None else labels
    return Cells(measure_rles(rles)[0], scores, labels, rles, SIZE, SIZE, ("a", "b"))


def boxes_of(cells):
    return sorted(map(tuple, cells.measure()[0].tolist()))


@pytest.fixture
def tiles():
    return make_tile_grid(SIZE, SIZE, 120, 40)  # two by two; seams run along 80 to 120


def merge(tiles, found, **options):
    """Merge cells given as {tile index: Cells}."""
    ids = np.repeat(list(found), [len(cells) for cells in found.values()])
    return merge_tiles(Cells.concatenate(list(found.values())), ids, tiles, **options)


def test_merge_tiles_when_both_see_a_cell_whole_keeps_it_once(tiles):
    merged = merge(tiles, {0: cells_of([(85, 30, 105, 50)]), 1: cells_of([(86, 30, 106, 50)])})
    assert boxes_of(merged) == [(85, 30, 105, 50)]  # its center lies in tile 0's core


def test_merge_tiles_when_classes_differ_keeps_the_owner_of_the_place(tiles):
    found = {
        0: cells_of([(85, 30, 105, 50)], [0.6], [0]),
        1: cells_of([(85, 30, 105, 50)], [0.9], [1]),
    }
    assert merge(tiles, found).labels.tolist() == [0]


def test_merge_tiles_when_a_cell_is_cut_takes_the_tile_that_holds_it_whole(tiles):
    # Its center lies in tile 0's core, but only tile 1 sees all of it.
    merged = merge(tiles, {0: cells_of([(84, 30, 120, 50)]), 1: cells_of([(84, 30, 124, 50)])})
    assert boxes_of(merged) == [(84, 30, 124, 50)]


def test_merge_tiles_when_no_tile_holds_a_cell_joins_its_parts(tiles):
    merged = merge(tiles, {0: cells_of([(40, 30, 120, 50)]), 1: cells_of([(80, 30, 160, 50)])})
    assert boxes_of(merged) == [(40, 30, 160, 50)]


def test_merge_tiles_when_a_cell_fills_the_corner_of_four_tiles_joins_them(tiles):
    merged = merge(
        tiles,
        {
            0: cells_of([(60, 60, 120, 120)]),
            1: cells_of([(80, 60, 140, 120)], [0.95], [1]),
            2: cells_of([(60, 80, 120, 140)]),
            3: cells_of([(80, 80, 140, 140)]),
        },
    )
    assert boxes_of(merged) == [(60, 60, 140, 140)]
    assert merged.labels.tolist() == [1]


def test_merge_tiles_when_a_part_has_no_counterpart_drops_it(tiles):
    assert len(merge(tiles, {0: cells_of([(70, 30, 120, 50)])})) == 0


def test_merge_tiles_when_parts_of_different_cells_touch_does_not_join_them(tiles):
    merged = merge(tiles, {0: cells_of([(40, 30, 120, 50)]), 1: cells_of([(80, 49, 160, 70)])})
    assert len(merged) == 0


def test_merge_tiles_when_cells_of_one_tile_overlap_keeps_both(tiles):
    merged = merge(tiles, {0: cells_of([(20, 20, 40, 40), (21, 20, 41, 40)])})
    assert len(merged) == 2


def test_merge_tiles_when_neighbors_overlap_across_the_seam_keeps_both(tiles):
    merged = merge(tiles, {0: cells_of([(81, 30, 101, 50)]), 1: cells_of([(97, 30, 117, 50)])})
    assert len(merged) == 2


PAIRED, PAIR, LONG_PAIR = (84, 30, 98, 50), (85, 30, 117, 50), (85, 30, 123, 50)


@pytest.mark.parametrize(
    ("left", "right", "kept"),
    [
        ([PAIRED], [PAIR], [PAIRED]),  # no tile saw two
        ([PAIRED], [PAIRED, PAIR], [PAIRED]),  # the left tile holds the pair, too, and saw none
        ([PAIRED, PAIR], [PAIRED, PAIR], [PAIRED, PAIR]),
        ([PAIRED], [PAIRED, LONG_PAIR], [PAIRED, LONG_PAIR]),  # only the right tile holds it
    ],
)
def test_merge_tiles_when_a_cell_covers_the_other_tiles_then_two_only_if_the_tiles_saw_two(
    tiles, left, right, kept
):
    # Each lies in its own tile's core, the pair in the right one's; the single cell is surer.
    found = {
        tile: cells_of(cells, [0.9 if cell == PAIRED else 0.7 for cell in cells])
        for tile, cells in enumerate((left, right))
    }
    assert boxes_of(merge(tiles, found)) == kept


def test_merge_tiles_when_only_the_other_tile_sees_a_cell_beside_the_seam_keeps_it(tiles):
    near, far = (88, 30, 108, 50), (84, 60, 90, 66)
    assert boxes_of(merge(tiles, {1: cells_of([near, far])}, slack_px=5)) == [near]


def test_merge_tiles_at_the_image_border_keeps_cells_that_touch_it(tiles):
    rectangles = [(0, 0, 10, 10), (0, 30, 10, 50)]
    assert boxes_of(merge(tiles, {0: cells_of(rectangles)})) == rectangles


def test_merge_tiles_without_cells_returns_none(tiles):
    assert len(merge_tiles(cells_of([]), np.zeros(0, dtype=int), tiles)) == 0


def test_merge_tiles_of_shuffled_cells_gives_the_same(tiles):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, len(tiles), 60)
    sizes = rng.integers(8, 30, (60, 2))
    corners = np.array(tiles)[ids, :2].astype(int) + rng.integers(0, 121 - sizes)
    rectangles = np.concatenate((corners, corners + sizes), axis=1)
    cells = cells_of(rectangles.tolist(), rng.permutation(60) / 60)
    merged = merge_tiles(cells, ids, tiles)
    assert set(ids) == {0, 1, 2, 3}
    assert 20 < len(merged) < 55  # some are cut, or seen by two tiles
    for _ in range(5):
        order = rng.permutation(60)
        again = merge_tiles(cells[order], ids[order], tiles)
        assert again.rles == merged.rles
        np.testing.assert_array_equal(again.scores, merged.scores)


def test_suppress_duplicates_when_a_chain_overlaps_keeps_both_ends():
    pairs = np.array([[0, 1], [1, 2]])
    kept = suppress_duplicates(3, pairs, np.array([0.9, 0.8, 0.7]))
    assert kept.tolist() == [True, False, True]


def test_merge_views_by_nms_keeps_the_highest_scoring_view_of_each_cell():
    views = [
        cells_of([(10, 10, 30, 30), (60, 60, 80, 80)], [0.8, 0.4]),
        cells_of([(11, 10, 31, 30)], [0.9]),
    ]
    merged = merge_views(views, "nms")
    assert boxes_of(merged) == [(11, 10, 31, 30), (60, 60, 80, 80)]
    np.testing.assert_allclose(merged.scores, [0.9, 0.4])


def test_merge_views_by_fusion_averages_boxes_scores_and_masks():
    views = [
        cells_of([(10, 10, 30, 30)], [0.9]),
        cells_of([(10, 10, 30, 34)], [0.9]),
        cells_of([(10, 10, 30, 33)], [0.6]),
    ]
    merged = merge_views(views, "wbf")
    assert boxes_of(merged) == [(10, 10, 30, 33)]  # rows 31 to 33 hold 1.5 of the weight 2.4
    np.testing.assert_allclose(merged.scores, [0.8], rtol=1e-6)
    wanted = (0.9 * 30 + 0.9 * 34 + 0.6 * 33) / 2.4
    np.testing.assert_allclose(merged.boxes, [[10, 10, 30, wanted]], rtol=1e-6)


def test_merge_views_by_fusion_lowers_the_score_of_a_cell_that_a_view_missed():
    merged = merge_views([cells_of([(10, 10, 30, 30)], [0.8]), cells_of([])], "wbf")
    np.testing.assert_allclose(merged.scores, [0.4])
    assert boxes_of(merged) == [(10, 10, 30, 30)]


@pytest.mark.parametrize("method", ["wbf", "nms"])
def test_merge_views_of_different_classes_keeps_both(method):
    views = [cells_of([(10, 10, 30, 30)], labels=[0]), cells_of([(10, 10, 30, 30)], labels=[1])]
    assert len(merge_views(views, method)) == 2


@pytest.mark.parametrize("method", ["wbf", "nms"])
def test_merge_views_of_the_same_prediction_changes_nothing(make_cells, method):
    label_map = np.zeros((40, 40), dtype=int)
    label_map[3:12, 4:15], label_map[12:20, 4:15], label_map[30:40, 0:9] = 1, 2, 3
    cells = make_cells(label_map)
    cells = cells[np.argsort(-cells.scores)]
    merged = merge_views([cells] * 3, method)
    assert merged.rles == cells.rles
    np.testing.assert_allclose(merged.scores, cells.scores, rtol=1e-6)
    np.testing.assert_allclose(merged.boxes, cells.boxes, rtol=1e-6)


def test_merge_views_with_weights_follows_the_model_trusted_more():
    views = [cells_of([(10, 10, 30, 30)], [0.8]), cells_of([(10, 10, 30, 36)], [0.8])]
    merged = merge_views(views, "wbf", weights=[3, 1])
    assert boxes_of(merged) == [(10, 10, 30, 30)]
    np.testing.assert_allclose(merged.boxes[0, 3], 31.5, rtol=1e-6)


def test_merge_views_by_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="'mean'"):
        merge_views([cells_of([])], "mean")
