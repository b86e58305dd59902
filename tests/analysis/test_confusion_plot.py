"""The confusion figure holds the numbers."""

import numpy as np

from cellseg.analysis.confusion import Confusion
from cellseg.analysis.confusion_plot import color_fields, draw_confusion


def test_draw_confusion_when_drawn_then_every_field_but_the_corner_has_its_number() -> None:
    counts = np.array([[3, 1, 0], [0, 0, 0], [2, 0, 0]])
    figure = draw_confusion(Confusion(("a", "b"), counts, 0.5, 0.3))
    left, right = figure.axes
    assert [t.get_text() for t in left.texts] == ["3", "1", "0", "0", "0", "0", "2", "0"]
    texts = [t.get_text() for t in right.texts]
    assert texts == ["75.0", "25.0", "0.0", "", "", "", "100.0", "0.0"]
    assert [t.get_text() for t in left.get_xticklabels()] == ["a", "b", "missed"]
    assert [t.get_text() for t in left.get_yticklabels()] == ["a", "b", "false positive"]


def test_draw_confusion_when_there_are_many_classes_then_no_numbers() -> None:
    names = tuple(map(str, range(40)))
    figure = draw_confusion(Confusion(names, np.eye(41, dtype=np.int64), 0.5, 0.3))
    assert not figure.axes[0].texts


def test_fields_always_have_the_hue_of_their_kind_and_are_paler_for_smaller_shares() -> None:
    fields = color_fields(np.array([[0.5, 0.2, 0.3], [0.1, 0.9, 0.0], [np.nan, np.nan, np.nan]]))
    right, wrong, missed = fields[0]
    assert right[2] > right[0]  # blue
    assert missed[0] > missed[2]  # orange
    assert wrong[0] > wrong[1]
    assert (fields[1, 2] == 1).all()
    assert (fields[2] == 1).all()  # a row without a cell is white
    assert fields[1, 1, 0] < fields[0, 0, 0]
