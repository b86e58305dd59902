"""Found cells are kept where the model may change something, and nowhere else."""

import numpy as np

from cellseg.structures.cells import Cells
from cellseg.web.edit_log import PageCell
from cellseg.web.placing import contains, find_covered, is_open_ground

SQUARE = ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0))
BOXES = np.array([[1, 1, 5, 5], [8, 8, 14, 14], [20, 20, 30, 30]])


def test_contains_then_points_inside_the_outline_are_found() -> None:
    shape = ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (5.0, 2.0), (0.0, 10.0))
    points = np.array([[1, 1], [5, 1], [5, 5], [9.5, 8], [-1, 1], [11, 1]], float)
    assert contains(shape, points).tolist() == [True, True, False, True, False, False]


def test_open_ground_then_region_done_tiles_and_reviewed_regions_count() -> None:
    assert is_open_ground(BOXES, None, None, ()).tolist() == [True, True, True]
    assert is_open_ground(BOXES, SQUARE, None, ()).tolist() == [True, False, False]
    assert is_open_ground(BOXES, None, [(0, 0, 12, 12)], ()).tolist() == [True, True, False]
    assert is_open_ground(BOXES, None, [], ()).tolist() == [False, False, False]
    assert is_open_ground(BOXES, None, None, [SQUARE]).tolist() == [False, True, True]
    assert is_open_ground(np.zeros((0, 4)), SQUARE, [], [SQUARE]).tolist() == []


def test_covered_then_found_cells_that_are_mostly_a_corrected_one() -> None:
    label_map = np.zeros((40, 40), int)
    label_map[0:10, 0:10], label_map[20:30, 20:30] = 1, 2
    found = Cells.from_label_map(label_map)
    corrected = PageCell.make(9, 0, None, [[0, 0, 10, 12, -10]])
    beside = PageCell.make(8, 0, None, [[28, 28, 10, 10, -10]])
    assert find_covered(found, [corrected, beside]).tolist() == [True, False]
    assert find_covered(found, []).tolist() == [False, False]
    assert find_covered(found[[]], [corrected]).tolist() == []
