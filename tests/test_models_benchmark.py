"""The scores of a model are those of its cells, averaged over images."""

import numpy as np
import pytest

from benchmarks.models import (
    FIGURES,
    FOUND_COLOR,
    TRUTH_COLOR,
    draw_tile,
    pick_images,
    score_all,
)
from cellseg.structures.cells import Cells


def draw_truth(num_cells: int) -> Cells:
    label_map = np.zeros((40, 40), dtype=np.int32)
    for number in range(num_cells):
        row, column = divmod(number, 4)
        label_map[row * 9 : row * 9 + 6, column * 9 : column * 9 + 6] = number + 1
    return Cells.from_label_map(label_map)


def predict(truth: Cells, scores: list[float]) -> Cells:
    return Cells(
        truth.boxes, np.float32(scores), truth.labels, truth.masks, 40, 40, class_names=("cell",)
    )


def test_perfect_cells_score_one():
    truths = [draw_truth(3), draw_truth(12)]
    found = [predict(truth, [0.9] * len(truth)) for truth in truths]
    assert score_all(found, truths, 0.5) == dict.fromkeys(FIGURES, 1.0)


def test_cells_below_the_minimum_score_do_not_count_and_images_weigh_alike():
    truths = [draw_truth(2), draw_truth(4)]
    found = [predict(truths[0], [0.9, 0.2]), predict(truths[1], [0.9] * 4)]
    figures = score_all(found, truths, 0.5)
    assert figures["AJI"] == pytest.approx((0.5 + 1) / 2)
    assert figures["F1_50"] == pytest.approx((2 / 3 + 1) / 2)


def test_pictures_are_of_the_best_median_worst_and_densest_image():
    figures, num_cells = [0.5, 0.9, 0.1, 0.6, 0.4], [3, 20, 4, 2, 30]
    expected = {1: "best", 0: "median", 2: "worst", 4: "densest"}
    assert pick_images(figures, num_cells) == expected


def test_an_image_that_is_worst_and_densest_is_drawn_once():
    assert pick_images([0.9, 0.5, 0.1], [1, 2, 3]) == {
        0: "best",
        1: "median",
        2: "worst and densest",
    }


def test_tile_always_has_both_outlines_and_a_caption():
    truth = draw_truth(3)
    tile = draw_tile(np.zeros((40, 40, 3), np.uint8), truth, truth[:1], "best: AJI 0.33")
    picture = tile[-160:]  # 40 px enlarged four times, below the caption
    assert tile.shape[1:] == (160, 3)
    for color in (TRUTH_COLOR, FOUND_COLOR):
        assert (picture == color).all(axis=-1).any()
    assert (tile[:-160] == 255).all(axis=-1).any()
