"""What a report warns of."""

import numpy as np
import pytest

from cellseg.analysis.confusion import Confusion
from cellseg.analysis.training_logs import TrainingRun
from cellseg.report.warnings import find_warnings, summarize_warnings


def make_confusion(counts=((150, 0, 5), (0, 150, 5), (5, 5, 0))) -> Confusion:
    return Confusion(("a", "b"), np.array(counts), 0.5, 0.5)


def make_run(*scores: float) -> TrainingRun:
    val = [{"coco/segm_mAP_50": score, "iter": 10 * k} for k, score in enumerate(scores)]
    return TrainingRun("r", [{"loss": 1.0, "iter": 1}], val, 10)


def test_warnings_when_all_is_well_then_there_are_none() -> None:
    assert find_warnings(make_confusion(), 4, make_run(0.5, 0.7, 0.8)) == []
    assert find_warnings(make_confusion(), 4, None) == []
    assert summarize_warnings([]) == ""


@pytest.mark.parametrize(
    ("counts", "images", "reason"),
    [
        (((150, 0, 5), (30, 0, 5), (5, 5, 0)), 4, "The class b is never found"),
        (((20, 0, 5), (0, 20, 5), (5, 5, 0)), 4, "rest on 50 cells in 4 images"),
        (((150, 0, 5), (0, 150, 5), (5, 5, 0)), 1, "in 1 image only"),
        (((150, 0, 5), (0, 10, 1), (5, 5, 0)), 4, "scores are uncertain: b (11)"),
        (((150, 0, 60), (0, 150, 60), (5, 5, 0)), 4, "lower minimum score"),
        (((150, 0, 5), (0, 150, 5), (80, 80, 0)), 4, "higher minimum score"),
    ],
)
def test_warnings_when_something_is_off_then_one_says_what(counts, images, reason) -> None:
    (warning,) = find_warnings(make_confusion(counts), images, None)
    assert reason in warning


@pytest.mark.parametrize(
    ("scores", "reason"),
    [((0.5, 0.8, 0.7), "overfits"), ((0.8, 0.6, 0.7), "made the model worse")],
)
def test_warnings_when_the_score_fell_then_training_is_blamed(scores, reason) -> None:
    (warning,) = find_warnings(make_confusion(), 4, make_run(*scores))
    assert reason in warning


def test_title_always_counts_the_warnings() -> None:
    assert summarize_warnings(["x"]) == "One thing to note:"
    assert summarize_warnings(["x", "y"]) == "2 things to note:"
