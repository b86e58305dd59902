"""Curves show what the logs hold, smoothed and averaged as asked."""

import numpy as np
import pytest

from cellseg.analysis.curves import (
    average_lines,
    group_runs,
    make_curves,
    plot_runs,
    save_figure,
    smooth,
    tabulate_times,
)
from cellseg.analysis.training_logs import TrainingRun


def make_run(name: str, level: float = 1.0, length: int | None = 10) -> TrainingRun:
    """Make a run of two epochs of 10 iterations, each validated."""
    train = [
        {
            "loss": level * 10 / k,
            "time": 0.1 * k,
            "data_time": 0.05,
            "iter": k,
            "epoch": 1 + k // 11,
        }
        for k in (5, 10, 15, 20)
    ]
    val = [{"coco/segm_mAP_50": level * k / 100, "iter": k} for k in (10, 20)]
    return TrainingRun(name, train, val, length)


def test_smooth_when_values_are_constant_then_stay_from_the_first_on() -> None:
    np.testing.assert_allclose(smooth(np.full(5, 3.0), 0.9), 3.0)
    np.testing.assert_array_equal(smooth(np.array([1.0, 5.0]), 0.0), [1.0, 5.0])
    np.testing.assert_allclose(smooth(np.array([0.0, 1.0]), 0.5), [0.0, 2 / 3])
    assert smooth(np.zeros(0), 0.5).shape == (0,)


@pytest.mark.parametrize("weight", [-0.1, 1.0])
def test_smooth_when_weight_is_out_of_range_then_error_says_so(weight: float) -> None:
    with pytest.raises(ValueError, match="below 1"):
        smooth(np.zeros(3), weight)


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["r18_seed0", "r18_seed1", "r50_seed0"], ["r18", "r50"]),
        (["a-1", "a-2", "b"], ["a", "b"]),
        (["demo_s10", "demo_s11"], ["demo"]),
        (["1", "2"], ["1", "2"]),
    ],
)
def test_group_runs_when_names_differ_in_the_seed_then_are_one_group(names, groups) -> None:
    assert list(group_runs([make_run(name) for name in names])) == groups


def test_make_curves_when_grouped_then_gives_mean_and_spread() -> None:
    runs = [make_run("a_seed0", 1.0), make_run("a_seed1", 3.0), make_run("b_seed0", 1.0)]
    pair, single = make_curves(runs, "coco/segm_mAP_50", group_pattern=r"_seed\d+")
    assert (pair.name, pair.num_runs, single.name) == ("a", 2, "b")
    np.testing.assert_allclose(pair.values, [0.2, 0.4])
    np.testing.assert_allclose(pair.spread, [0.1 * 2**0.5, 0.2 * 2**0.5])
    assert single.spread is None


def test_make_curves_when_smoothed_then_validation_is_not() -> None:
    (loss,) = make_curves([make_run("a")], "loss", 0.5)
    (score,) = make_curves([make_run("a")], "coco/segm_mAP_50", 0.5)
    assert loss.raw is not None
    assert loss.values[-1] > loss.raw[-1]
    assert score.raw is None
    np.testing.assert_allclose(score.values, [0.1, 0.2])


def test_average_lines_when_points_differ_then_interpolates_where_all_have_values() -> None:
    first = np.array([0.0, 10.0, 20.0]), np.array([0.0, 10.0, 20.0])
    second = np.array([5.0, 15.0, 30.0]), np.array([7.0, 17.0, 32.0])
    places, means, spread = average_lines([first, second])
    assert places.tolist() == [5, 10, 15, 20]
    np.testing.assert_allclose(means, places + 1)
    np.testing.assert_allclose(spread, 2**0.5)
    apart = np.array([50.0]), np.array([1.0])
    assert average_lines([first, apart])[0].shape == (0,)


def test_plot_runs_when_both_kinds_are_asked_for_then_two_panels_share_the_axis() -> None:
    figure = plot_runs([make_run("a"), make_run("b", 2)], weight=0.3, title="t")
    left, right = figure.axes
    assert (left.get_ylabel(), right.get_ylabel()) == (
        "loss",
        "AP50 of the masks, on validation",
    )
    assert left.get_xlim() == right.get_xlim()
    assert [line.get_xdata().tolist() for line in right.lines] == [[10, 20], [10, 20]]
    assert [text.get_text() for text in right.get_legend().texts] == ["a", "b"]


def test_plot_runs_when_a_run_failed_then_the_score_axis_still_goes_to_one() -> None:
    right = plot_runs([make_run("a", 1e-4)]).axes[1]
    assert right.get_ylim() == (0, 1)


@pytest.mark.parametrize(
    ("key", "ends_at_one"),
    [
        ("coco/segm_mAP", True),
        ("coco/bbox_AR_s", True),
        ("coco/segm_nucleus_AP_50", True),
        ("coco/cell_mPQ", True),
        ("coco/cell_any_PQ_image_mean", True),
        ("coco/cell_any_AJI", True),
        ("coco/cell_nucleus_F1_50", True),
        ("coco/cell_any_Dice", True),
        ("coco/cell_any_recall_50", True),
        ("loss_val", False),
        ("coco/num_APoptotic", False),
    ],
)
def test_plot_runs_when_a_key_is_a_score_then_its_axis_goes_to_one(key, ends_at_one) -> None:
    run = TrainingRun("a", [], [{key: 0.01, "iter": 1}, {key: 0.02, "iter": 2}], None)
    (axes,) = plot_runs([run], [key]).axes
    assert (axes.get_ylim() == (0, 1)) is ends_at_one


def test_plot_runs_when_smoothed_then_the_legend_states_it() -> None:
    left = plot_runs([make_run("a")], weight=0.3).axes[0]
    assert "smoothed, weight 0.3" in left.get_legend().texts[0].get_text()


def test_plot_runs_when_measured_in_minutes_then_steps_add_up() -> None:
    run = make_run("a")
    places, _ = run.series("loss", "minutes")
    # Five steps each of 0.5, 1.0, 1.5 and 2.0 s.
    np.testing.assert_allclose(places * 60, [2.5, 7.5, 15.0, 25.0])
    assert plot_runs([run], axis="minutes").axes[0].get_xlabel() == "minutes of training"
    for record in run.train:
        del record["time"]
    with pytest.raises(ValueError, match="logged no times"):
        run.series("loss", "minutes")


def test_plot_runs_when_a_run_lacks_a_key_then_colors_stay_with_their_runs() -> None:
    bare = TrainingRun("a", make_run("a").train, [], 10)
    left, right = plot_runs([bare, make_run("b")]).axes
    assert right.lines[0].get_color() == left.lines[1].get_color() != left.lines[0].get_color()


def test_plot_runs_when_validation_was_not_yet_then_default_keys_draw_the_loss() -> None:
    run = TrainingRun("a", make_run("a").train, [], 10)
    assert len(plot_runs([run]).axes) == 1
    with pytest.raises(ValueError, match=r"No run logged coco/segm_mAP\. Training logged: loss"):
        plot_runs([run], ["coco/segm_mAP"])


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")]
)
def test_save_figure_when_suffix_is_known_then_writes_that_format(tmp_path, suffix, start) -> None:
    path = save_figure(plot_runs([make_run("a")]), tmp_path / f"curves{suffix}")
    assert path.read_bytes().startswith(start)


def test_save_figure_when_suffix_is_unknown_then_error_names_the_known(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"\.png, \.svg, \.pdf"):
        save_figure(plot_runs([make_run("a")]), tmp_path / "curves.bmp")


def test_tabulate_times_when_epochs_are_logged_then_has_a_row_for_each() -> None:
    text = tabulate_times(make_run("a"), include_outliers=True)
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in rows[1]] == ["1", "2", "0.7500", "0.0500", "0.12"]
    assert "slowest epoch 2 (1.7500 s/iteration), fastest epoch 1" in text
    assert "1.0000" in tabulate_times(make_run("a")).splitlines()[3]  # without the first record


def test_tabulate_times_when_run_counts_iterations_then_is_one_row() -> None:
    run = make_run("a", length=None)
    for record in run.train:
        del record["epoch"]
    assert "| all" in tabulate_times(run).replace("|   all", "| all")
    for record in run.train:
        del record["time"]
    with pytest.raises(ValueError, match="logged no times"):
        tabulate_times(run)
