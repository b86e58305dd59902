"""A scene holds the cells that count, and refuses what does not fit together."""

from dataclasses import replace

import numpy as np
import pytest

from cellseg.scoring.scene import build_scene
from cellseg.structures.cells import Cells
from cellseg.structures.rle import RLE, encode_crop

SIDE = 20


def make_cells(*squares: tuple[int, int, int], **fields) -> Cells:
    """Make squares of 4 px from x, y and label."""
    rles = [encode_crop(np.ones((4, 4), bool), x, y, SIDE, SIDE) for x, y, _ in squares]
    return Cells.from_rles(rles, SIDE, SIDE, [label for *_, label in squares], **fields)


def test_build_scene_when_cells_are_hidden_ignored_or_unsure_then_places_are_those_given() -> None:
    truth = make_cells((0, 0, -1), (8, 0, 0), (0, 8, 1), ignored=[True, False, False])
    found = make_cells(
        *((8, 0, 0), (8, 0, 0), (0, 8, 0), (0, 0, 1), (8, 0, 1)), scores=[0.6, 0.9, 0.2, 0.8, 0.7]
    )
    scene = build_scene(truth, found, 2)
    assert scene.gt_index.tolist() == [1, 2]
    assert scene.gt_labels.tolist() == [0, 1]
    assert scene.pred_index.tolist() == [0, 1, 3, 4]
    assert scene.visible.tolist() == [False, True, True, True]  # the first lies under the second
    assert scene.ignored.tolist() == [False, False, True, False]
    matches = scene.match(0.5)
    assert (matches.gt_index.tolist(), matches.pred_index.tolist()) == ([0], [1])


def test_build_scene_when_there_are_no_scores_then_all_count_and_the_earlier_one_wins() -> None:
    scene = build_scene(make_cells(), make_cells((0, 0, 0), (2, 0, 0)), 1)
    assert scene.pred_index.tolist() == [0, 1]
    assert scene.overlaps.pred_areas.tolist() == [16, 8]


def test_build_scene_when_input_does_not_fit_then_says_what() -> None:
    truth = make_cells((0, 0, 0))
    with pytest.raises(ValueError, match="prediction 0 has class 3"):
        build_scene(truth, make_cells((0, 0, 3), scores=[1.0]), 2)
    with pytest.raises(ValueError, match="ground-truth cell 0 has class 2"):
        build_scene(make_cells((0, 0, 2)), truth, 2)
    small = Cells.from_rles([RLE(size=[5, 5], counts="i0")], 5, 5, [0], [1.0])
    with pytest.raises(ValueError, match=r"of an image of \(5, 5\) pixels"):
        build_scene(truth, small, 2)
    other = replace(truth, masks=[RLE(size=[5, 5], counts="i0")])
    with pytest.raises(ValueError, match=r"Mask 0 has size \(5, 5\)"):
        build_scene(truth, other, 2)
    with pytest.raises(ValueError, match="some have boxes only"):
        build_scene(replace(truth, masks=None), truth, 2)
