"""The front door of scoring."""

import doctest
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cellseg.scoring import label_maps
from cellseg.scoring.label_maps import score_label_maps


def draw_squares(*places: int, side: int = 40) -> NDArray[np.int64]:
    """Draw squares of 6 px on a diagonal."""
    label_map = np.zeros((side, side), dtype=np.int64)
    for number, place in enumerate(places, start=5):
        label_map[place : place + 6, place : place + 6] = number
    return label_map


def test_docstring_examples_when_run_then_hold() -> None:
    outcome = doctest.testmod(label_maps)
    assert outcome.attempted >= 7
    assert not outcome.failed


def test_score_label_maps_when_prediction_is_perfect_then_all_scores_are_one() -> None:
    image = {"round": draw_squares(0, 10), "long": draw_squares(20)}
    scores = score_label_maps([image, draw_squares(3)], [image, draw_squares(3)])
    assert [group.name for group in scores.classes] == ["round", "long", "cell"]
    assert set(scores.to_dict().values()) == {1.0}
    assert scores.num_images == 2


def test_score_label_maps_when_classes_are_confused_then_only_the_agnostic_ones_match() -> None:
    truth = {"a": draw_squares(0, 10), "b": draw_squares(20)}
    prediction = {"a": draw_squares(20), "b": draw_squares(0, 10)}
    scores = score_label_maps(truth, prediction, ["a", "b"])
    assert [group.values["PQ"] for group in scores.classes] == [0, 0]
    assert scores.any_class.values["PQ"] == scores.any_class.values["AP_95"] == 1


def test_score_label_maps_when_images_differ_then_pooled_and_averaged_do_too() -> None:
    truth = [draw_squares(0, 10, 20, 30), draw_squares(0)]
    prediction = [draw_squares(0), draw_squares(0)]
    values = score_label_maps(truth, prediction, tissues=["x", "y"]).classes[0].values
    assert values["AP_50"] == pytest.approx(2 / 5)
    assert values["AP_50_image_mean"] == pytest.approx((1 / 4 + 1) / 2)
    assert values["PQ"] == pytest.approx(4 / 7)
    assert values["PQ_image_mean"] == pytest.approx((2 / 5 + 1) / 2)


def test_score_label_maps_when_a_prediction_spans_two_cells_then_as_kumar_and_hover_net() -> None:
    """A case worked out by hand, as Kumar et al. 2017 define AJI and HoVer-Net's code PQ.

    Prediction 5 covers cell 1 (IoU 4/7) and a part of cell 2 (IoU 2/9); cell 3 is missed,
    prediction 6 is false, and prediction 7 has an IoU of exactly 1/2 with cell 4. AJI takes the
    best prediction of each cell, one twice where need be, and adds the missed cell and the false
    prediction to the union: (4 + 2 + 1) / (7 + 9 + 2 + 2 + 2). One to one it would be 5 / 17.
    """
    truth = np.array([[1, 1, 1, 1, 0, 2, 2, 2, 2, 0, 3, 3, 0, 0, 4, 4]])
    found = np.array([[5, 5, 5, 5, 5, 5, 5, 0, 0, 0, 0, 0, 6, 6, 7, 0]])
    values = score_label_maps(truth, found).any_class.values
    assert values["AJI"] == values["AJI_image_mean"] == pytest.approx(7 / 22)
    # One match; two predictions and three cells without: an IoU of 1/2 is none.
    assert values["DQ"] == pytest.approx(1 / (1 + 2 / 2 + 3 / 2))
    assert values["SQ"] == pytest.approx(4 / 7)
    assert values["PQ"] == values["PQ_image_mean"] == pytest.approx(8 / 49)


def test_score_label_maps_when_a_class_is_left_out_of_an_image_then_it_has_none_there() -> None:
    truth = [{"a": draw_squares(0)}, {"a": draw_squares(0), "b": draw_squares(10)}]
    prediction = [{"b": draw_squares(10)}, {"a": draw_squares(0)}]
    scores = score_label_maps(truth, prediction)
    assert [group.num_cells for group in scores.classes] == [2, 1]
    assert [group.num_predicted for group in scores.classes] == [1, 1]


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([draw_squares(0)], [], "1 images came with 0 predictions"),
        (draw_squares(0), draw_squares(0, side=30), "Image 0: .*of an image of"),
        ({"a": draw_squares(0)}, {"z": draw_squares(0)}, "Image 0: 'z' is not among the classes a"),
        ([draw_squares(0), {}], [draw_squares(0), draw_squares(0)], "Image 1: It has no label map"),
        (draw_squares(0) / 2, draw_squares(0), "two-dimensional integer"),
    ],
)
def test_score_label_maps_when_input_does_not_fit_then_says_what(
    truth: object, prediction: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        score_label_maps(truth, prediction, ["a", "cell"] if "'z'" not in message else ["a"])


def test_score_label_maps_when_real_labels_are_predicted_then_exactly_one(real_data: Path) -> None:
    paths = sorted((real_data / "consep" / "test").glob("*/class1.tif"))[:2]
    maps = [tifffile.imread(path).astype(np.int64) for path in paths]
    scores = score_label_maps(maps, maps)
    assert set(scores.to_dict().values()) == {1.0}
    assert scores.any_class.num_cells == sum(len(np.unique(one)) - 1 for one in maps)
