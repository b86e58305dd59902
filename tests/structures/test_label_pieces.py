"""Labels that stand for many cells are noticed, those of one cell in pieces are not."""

import numpy as np
import pytest
from scipy import ndimage

from cellseg.structures.label_pieces import LabelPieces, count_pieces, look_merged, look_merged_in
from cellseg.structures.rle import find_runs

RNG = np.random.default_rng(0)


def draw_cells(rows: int, columns: int) -> np.ndarray:
    """Draw rows x columns cells of 5 x 5 pixels, ids 1, 2, ... (int64)."""
    ids = np.arange(1, rows * columns + 1).reshape(rows, columns)
    return np.kron(ids, np.pad(np.ones((5, 5), int), 1))


def count(label_map: np.ndarray) -> LabelPieces:
    ids, runs = find_runs(label_map, None)
    return count_pieces(runs, len(ids), len(label_map))


@pytest.mark.parametrize("density", [0.05, 0.3, 0.6])
def test_count_pieces_when_labels_are_random_then_as_connected_components(density):
    label_map = RNG.integers(1, 4, (40, 60)) * (RNG.random((40, 60)) < density)
    label_map[[0, -1]] = 0  # pieces at the top of a column are not those below in the one before
    counts = [ndimage.label(label_map == k, np.ones((3, 3)))[1] for k in (1, 2, 3)]
    found = count(label_map)
    assert (found.num_labels, found.num_pieces) == (3, sum(counts))
    assert found.num_split == sum(number > 1 for number in counts)


@pytest.mark.parametrize("label_map", [np.zeros((9, 9), int), np.ones((9, 9), int)])
def test_count_pieces_when_empty_or_full_then_no_piece_or_one(label_map):
    found = count(label_map)
    assert found.num_pieces == found.num_labels == label_map[0, 0]
    assert not look_merged([found])


@pytest.mark.parametrize(
    "label_map",
    [
        (draw_cells(4, 5) > 0) * 255,
        draw_cells(20, 20) % 256,
        draw_cells(20, 20)[:, 70:] % 256,
        draw_cells(1, 257) % 256,
        (draw_cells(20, 20) - 1) % 255 + 1,
        np.where(draw_cells(6, 6) > 0, draw_cells(6, 6) % 3 + 1, 0),
        np.pad(np.ones((5, 5), int), ((0, 60), (0, 60))) + np.pad(np.ones((5, 5), int), (60, 0)),
    ],
    ids=[
        "mask",
        "wrapped",
        "part_of_wrapped",
        "barely_wrapped",
        "wrapped_without_0",
        "class_numbers",
        "mask_of_two",
    ],
)
def test_look_merged_when_a_label_stands_for_many_cells_then_true(label_map):
    assert look_merged([count(label_map)])


def test_look_merged_when_cells_are_whole_or_a_few_in_pieces_then_false():
    whole = draw_cells(16, 16)
    whole[:14, 3] = 0
    assert not look_merged([count(whole)])
    assert not look_merged([count(draw_cells(1, 1)), count(draw_cells(2, 3))])
    assert not look_merged([])


@pytest.mark.parametrize(("number", "expected"), [(255, True), (1, False), (254, False)])
def test_look_merged_in_when_the_only_id_is_255_then_it_is_a_mask(number, expected):
    label_map = np.zeros((9, 9), np.uint8)
    label_map[2:5, 2:5] = number
    assert look_merged_in(label_map) == expected
    label_map[7, 7] = 3
    assert not look_merged_in(label_map)
