"""Curves of precision against recall, held against COCO's own AP."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellseg.scoring.average_precision import compute_average_precision
from cellseg.scoring.precision_recall import trace_precision_recall
from tests.scoring.squares import make_result

SIDE = 24
CLASSES = ("a", "b")


places = st.integers(0, SIDE - 8)
truths = st.tuples(places, places, st.integers(3, 8), st.sampled_from([-1, 0, 0, 1, 1]))
founds = st.tuples(places, places, st.integers(3, 8), st.integers(0, 1), st.integers(1, 9))
images = st.tuples(st.lists(truths, max_size=5), st.lists(founds, max_size=8))


@settings(max_examples=60, deadline=None)
@given(st.lists(images, max_size=3), st.sampled_from([0.5, 0.75]), st.sampled_from([2, 1000]))
def test_trace_precision_recall_when_averaged_then_gives_the_ap_of_coco(drawn, iou_thr, max_dets):
    results = [
        make_result(truth, [(*f[:4], f[4] / 10) for f in found], SIDE, number)
        for number, (truth, found) in enumerate(drawn, 1)
    ]
    expected = compute_average_precision(results, CLASSES, max_dets=max_dets)
    curves = trace_precision_recall(results, CLASSES, iou_thr, max_dets)
    for curve, figures in zip(curves, expected.classes, strict=True):
        value = figures.ap_50 if iou_thr == 0.5 else figures.ap_75
        assert curve.num_cells == figures.num_cells
        assert curve.average == pytest.approx(value, abs=1e-9, nan_ok=True)


def test_trace_precision_recall_when_one_of_two_cells_is_found_then_counts_say_so() -> None:
    truth = [(0, 0, 6, 0), (10, 10, 6, 0)]
    found = [(0, 0, 6, 0, 0.9), (0, 12, 6, 0, 0.6), (10, 10, 6, 1, 0.8)]
    first, second = trace_precision_recall([make_result(truth, found, SIDE)], CLASSES)
    assert first.scores.tolist() == [0.9, 0.6]
    assert first.recall.tolist() == [0.5, 0.5]
    assert first.precision.tolist() == [1.0, 0.5]
    assert first.at_score(0.7) == (0.5, 1.0)
    assert first.at_score(0.95) is None
    assert math.isnan(second.average)


def test_trace_precision_recall_when_a_prediction_is_in_ignored_regions_then_it_counts_not() -> (
    None
):
    truth = [(0, 0, 12, -1), (14, 14, 6, 0)]
    found = [(2, 2, 5, 0, 0.9), (14, 14, 6, 0, 0.8)]
    curve, _ = trace_precision_recall([make_result(truth, found, SIDE)], CLASSES)
    assert curve.scores.tolist() == [0.8]
    assert curve.average == 1


def test_trace_precision_recall_when_detections_are_limited_then_the_best_of_each_class_count() -> (
    None
):
    found = [(0, 0, 6, 0, 0.3), (0, 12, 6, 0, 0.9), (10, 10, 6, 1, 0.1)]
    first, second = trace_precision_recall([make_result([], found, SIDE)], CLASSES, max_dets=1)
    assert first.scores.tolist() == [0.9]
    assert second.scores.tolist() == [0.1]


def test_trace_precision_recall_when_there_is_no_image_then_curves_are_empty() -> None:
    for curve in trace_precision_recall([], CLASSES):
        assert curve.scores.shape == curve.recall.shape == (0,)
        assert curve.levels.sum() == 0
