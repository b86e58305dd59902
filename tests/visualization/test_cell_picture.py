"""The picture of cells with its legend and scale bar."""

from dataclasses import replace

import numpy as np
import pytest

from cellseg.structures.cells import Cells
from cellseg.visualization.cell_picture import choose_bar, draw_cells, list_counts


@pytest.fixture
def cells() -> Cells:
    label_map = np.zeros((200, 300), dtype=np.int32)
    label_map[50:100, 50:100] = 1
    label_map[120:160, 200:260] = 2
    return Cells.from_label_map(label_map, [0, 0], ("a", "b"))


def test_picture_when_the_scale_is_known_then_is_higher_by_a_bar(cells) -> None:
    plain = draw_cells(cells)
    barred = draw_cells(replace(cells, pixel_size_um=0.5))
    assert plain.shape[0] > 200
    assert barred.shape[0] > plain.shape[0]
    black = (barred[plain.shape[0] :] == 0).all(axis=2).sum(axis=1).max()
    assert black == 40  # 20 um, a fifth of 150 um at most


def test_picture_when_the_image_is_gray_or_absent_then_outlines_are_in_color(cells) -> None:
    for image in (None, np.full((200, 300), 99, np.uint8)):
        drawn = draw_cells(cells, image, [(255, 0, 0), (0, 0, 255)])
        assert (drawn[50, 75] == (255, 0, 0)).all()


def test_picture_when_the_image_is_of_another_size_then_says_both(cells) -> None:
    with pytest.raises(ValueError, match="10 x 20 pixels.*200 x 300"):
        draw_cells(cells, np.zeros((10, 20, 3), np.uint8))


def test_picture_when_there_are_boxes_only_then_they_are_drawn(cells) -> None:
    drawn = draw_cells(replace(cells, masks=None), None, [(255, 0, 0)])
    assert (drawn[50, 75] == (255, 0, 0)).all()


def test_counts_always_name_every_class_and_the_ignored(cells) -> None:
    entries = list_counts(replace(cells, labels=np.array([0, -1])), [(1, 2, 3)])
    assert [entry.text for entry in entries] == ["a: 1", "b: 0", "ignored: 1"]


@pytest.mark.parametrize(
    ("width", "size", "length"), [(1000, 0.25, 50), (1000, 0.5, 100), (300, 0.25, 10), (50, 1, 10)]
)
def test_bar_always_has_a_round_length_that_fits(width, size, length) -> None:
    um, px = choose_bar(width, size)
    assert um == length
    assert px <= 0.2 * width
