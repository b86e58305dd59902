"""Rows of the report, and which images and cells it chooses to show."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cellseg.analysis.confusion import Confusion
from cellseg.analysis.training_logs import TrainingRun
from cellseg.report.sections import (
    choose_cells,
    draw_training,
    make_class_summary,
    make_confusion_rows,
    rank_images,
)
from cellseg.scoring.outcomes import CellOutcomes


def make_outcome(right: int, cells: int, predictions: int) -> CellOutcomes:
    """Make an outcome of which the first `right` cells were found."""
    numbers, labels = np.arange(max(cells, predictions)), np.zeros(max(cells, predictions), int)
    partners = np.where(numbers < right, numbers, -1)[:cells]
    return CellOutcomes(
        numbers[:cells], numbers[:predictions], labels[:cells], labels[:predictions], partners
    )


def make_confusion(counts) -> Confusion:
    """Make a matrix of classes a, b, ..."""
    return Confusion(tuple("abcdef"[: len(counts) - 1]), np.array(counts), 0.5, 0.5)


def test_make_class_summary_when_counts_are_known_then_rows_and_widths_follow() -> None:
    rows = make_class_summary(make_confusion([[6, 1, 3], [0, 0, 0], [5, 100, 0]]))
    first, absent = rows
    assert (first.found, first.other, first.missed, first.false_positives) == (6, 1, 3, 5)
    assert first.widths["found"] == 40
    assert sum(first.widths.values()) == 100
    assert absent.num_cells == 0
    assert sum(absent.widths.values()) <= 100


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(0, 50), min_size=n + 1, max_size=n + 1),
            min_size=n + 1,
            max_size=n + 1,
        )
    )
)
def test_make_class_summary_when_counts_are_any_then_no_bar_leaves_the_page(counts) -> None:
    counts[-1][-1] = 0
    confusion = make_confusion(counts)
    for row in make_class_summary(confusion):
        assert min(row.widths.values()) >= -1e-9
        assert sum(row.widths.values()) <= 100 + 1e-6
        assert row.found + row.other + row.missed == row.num_cells
    assert [len(fields) for _, fields in make_confusion_rows(confusion)] == [len(counts)] * len(
        counts
    )


def test_make_confusion_rows_when_a_class_is_absent_then_shares_are_left_empty() -> None:
    rows = make_confusion_rows(make_confusion([[1, 1, 0], [0, 0, 0], [0, 2, 0]]))
    (_, first), (_, absent), (name, unmatched) = rows
    assert [field.share for field in first] == ["50.0 %", "50.0 %", "0.0 %"]
    assert [field.share for field in absent] == ["", "", ""]
    assert name == "false positive"
    assert unmatched[-1] is None
    assert first[0].kind == "right"
    assert first[1].kind == "wrong"


def test_rank_images_when_ranked_then_none_is_shown_twice() -> None:
    outcomes = [
        make_outcome(9, 10, 10),
        make_outcome(0, 0, 0),
        make_outcome(1, 10, 10),
        make_outcome(5, 10, 10),
        make_outcome(0, 0, 3),
    ]
    worst, best = rank_images(outcomes, 3)
    assert worst == [4, 2]
    assert best == [0, 3]
    assert rank_images(outcomes[:1], 3) == ([0], [])
    assert rank_images([], 3) == ([], [])
    assert rank_images(outcomes, 0) == ([], [])


candidates = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 99), st.floats(0, 1)))


@given(candidates, st.integers(0, 12))
def test_choose_cells_when_limited_then_takes_as_many_as_it_may_by_weight(cells, limit) -> None:
    chosen = choose_cells(cells, limit)
    assert len(chosen) == min(limit, len(cells))
    weights = [weight for _, _, weight in chosen]
    assert weights == sorted(weights, reverse=True)


def test_choose_cells_when_one_image_has_the_most_then_others_are_shown_too() -> None:
    cells = [(0, k, 100.0 + k) for k in range(50)] + [(1, 0, 1.0)]
    chosen = choose_cells(cells, 6)
    assert (1, 0, 1.0) in chosen
    assert len(chosen) == 6


def test_draw_training_when_little_was_logged_then_draws_what_there_is() -> None:
    assert draw_training(TrainingRun("r", [], [{"other": 1.0, "iter": 1}], None)) == []
    one = [{"loss": 2.0, "iter": 1}]
    assert draw_training(TrainingRun("r", one, [], None)) == []
    val = [{"coco/segm_mAP_50": 0.4, "iter": 4}, {"coco/segm_mAP_50": 0.3, "iter": 8}]
    (chart,) = draw_training(TrainingRun("r", one, val, None))
    assert chart.summary == "AP50 is best at iteration 4, with 0.400."
    noisy = [{"loss": 2.0 + k % 2, "iter": k} for k in range(1, 200)]
    (chart,) = draw_training(TrainingRun("r", noisy, [], None))
    assert [line.faint for line in chart.lines] == [True, False]
