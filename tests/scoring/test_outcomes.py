"""What became of each cell, and recall by size."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellseg.analysis.confusion import confuse_results
from cellseg.scoring.outcomes import (
    SizeBand,
    band_recall,
    choose_size_edges,
    classify_cells,
    measure_diameters,
)
from cellseg.scoring.scene import build_result_scene
from tests.scoring.squares import make_result

SIDE = 40


def test_classify_cells_when_each_kind_occurs_then_each_cell_keeps_its_place() -> None:
    truth = [(0, 0, 8, -1), (10, 0, 8, 0), (20, 0, 8, 0), (30, 0, 8, 1)]
    found = [
        (0, 20, 8, 0, 0.2),  # too low a score
        (0, 0, 8, 0, 0.9),  # in the ignored region
        (20, 0, 8, 1, 0.8),  # another class
        (10, 0, 8, 0, 0.7),  # right
        (10, 0, 8, 0, 0.6),  # hidden by the one before
        (20, 20, 8, 1, 0.9),  # a false positive
    ]
    outcome = classify_cells(build_result_scene(make_result(truth, found, SIDE), 2))
    assert outcome.gt_index.tolist() == [1, 2, 3]
    assert outcome.found.tolist() == [True, True, False]
    assert outcome.right.tolist() == [True, False, False]
    assert outcome.pred_index.tolist() == [2, 3, 5]
    assert outcome.false_positive.tolist() == [False, False, True]
    assert outcome.wrong.tolist() == [True, False, True]
    assert outcome.f1 == pytest.approx(2 / 6)


def test_classify_cells_when_the_image_is_empty_then_nothing_can_be_said() -> None:
    outcome = classify_cells(build_result_scene(make_result([], [], SIDE), 2))
    assert math.isnan(outcome.f1)
    assert not len(outcome.gt_index)


places, sizes = st.integers(0, 32), st.just(8)
cells = st.tuples(places, places, sizes, st.integers(-1, 1))
predictions = st.tuples(places, places, sizes, st.integers(0, 1), st.sampled_from([0.3, 0.6, 0.9]))


@given(st.lists(cells, max_size=8), st.lists(predictions, max_size=8))
def test_classify_cells_when_summed_then_gives_the_confusion_matrix(truth, found) -> None:
    result = make_result(truth, found, SIDE)
    outcome = classify_cells(build_result_scene(result, 2))
    counts = confuse_results([result], ("a", "b")).counts
    assert (~outcome.found).sum() == counts[:2, 2].sum()
    assert outcome.right.sum() == np.trace(counts)
    assert outcome.false_positive.sum() == counts[2].sum()
    assert len(outcome.gt_index) == counts[:2].sum()
    assert len(outcome.pred_index) == counts[:, :2].sum()


@given(st.lists(st.tuples(st.integers(1, 5000), st.booleans()), min_size=1, max_size=60))
def test_band_recall_when_cells_are_banded_then_none_is_lost(drawn) -> None:
    diameters = measure_diameters(np.array([area for area, _ in drawn]))
    found = np.array([hit for _, hit in drawn])
    edges = choose_size_edges(diameters)
    assert edges == sorted(set(edges))
    bands = band_recall(diameters, found, edges)
    assert sum(band.num_cells for band in bands) == len(drawn)
    assert sum(band.num_found for band in bands) == found.sum()
    for band in bands:
        inside = (diameters >= band.low_px) & (diameters < band.high_px)
        assert inside.sum() == band.num_cells


def test_choose_size_edges_when_there_are_no_cells_then_there_are_no_bands() -> None:
    edges = choose_size_edges(np.zeros(0))
    assert band_recall(np.zeros(0), np.zeros(0, bool), edges) == []


def test_size_band_interval_when_counts_are_known_then_it_is_wilsons() -> None:
    low, high = SizeBand(0, 1, 10, 8).interval
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert SizeBand(0, 1, 0, 0).interval == (0.0, 1.0)
    assert SizeBand(0, 1, 5, 5).interval[1] == 1.0
