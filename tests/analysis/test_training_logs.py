"""Logs are joined across resumes, and validation is placed where it happened."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellseg.analysis.training_logs import (
    count_iters_per_epoch,
    find_logs,
    read_records,
    read_run,
)


def train_record(iteration: int, loss: float, epoch: int | None = None) -> dict:
    record = {"loss": loss, "time": 0.5, "data_time": 0.1, "iter": iteration, "step": iteration}
    return record if epoch is None else record | {"epoch": epoch}


def write_log(work_dir: Path, start: str, records: list[dict], cut: int = 0) -> Path:
    """Write one start's log, leaving out its last characters."""
    log = work_dir / start / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    text = "".join(json.dumps(record) + "\n" for record in records)
    log.write_text(text[: len(text) - cut])
    return log


def epoch_log(first: int, last: int, length: int, interval: int, loss: float) -> list[dict]:
    """Log whole epochs as mmengine does: every interval-th iteration, then validation."""
    records = []
    for epoch in range(first, last + 1):
        done = (epoch - 1) * length
        logged = list(range(interval, length + 1, interval)) or [length]
        records += [train_record(done + k, loss, epoch) for k in logged]
        records.append({"coco/segm_mAP_50": epoch / 100, "time": 0.1, "step": epoch})
    return records


@given(
    length=st.integers(1, 60),
    interval=st.integers(1, 70),
    first=st.integers(2, 9),
    num=st.integers(2, 5),
)
def test_count_iters_per_epoch_when_two_epochs_are_logged_then_is_exact(
    length, interval, first, num
) -> None:
    for begin in (1, first):
        records = epoch_log(begin, begin + num - 1, length, interval, 1.0)
        assert count_iters_per_epoch([r for r in records if "iter" in r]) == length


def test_count_iters_per_epoch_when_one_later_epoch_is_logged_then_uses_the_interval() -> None:
    records = [train_record(33 * 4 + k, 1.0, 5) for k in (10, 20, 30)]
    assert count_iters_per_epoch(records) == 33
    assert count_iters_per_epoch([train_record(10, 1.0)]) is None
    assert count_iters_per_epoch([]) is None


@pytest.mark.parametrize(("length", "interval"), [(33, 10), (8, 50), (20, 10), (7, 1)])
def test_read_run_when_run_is_by_epoch_then_validation_is_in_iterations(
    tmp_path, length, interval
) -> None:
    write_log(tmp_path / "work", "20260101_000000", epoch_log(1, 3, length, interval, 1.0))
    run = read_run(tmp_path / "work")
    assert run.name == "work"
    assert run.series("coco/segm_mAP_50")[0].tolist() == [length, 2 * length, 3 * length]
    assert run.series("coco/segm_mAP_50", "epoch")[0].tolist() == [1, 2, 3]


def test_read_run_when_run_counts_iterations_then_steps_are_kept(tmp_path) -> None:
    records = [train_record(50, 2.0), {"coco/segm_mAP": 0.1, "step": 60}, train_record(100, 1.0)]
    records.append({"coco/segm_mAP": 0.2, "step": 0})  # what mmengine logs if not told otherwise
    write_log(tmp_path, "20260101_000000", records)
    run = read_run(tmp_path)
    assert run.series("coco/segm_mAP")[0].tolist() == [60, 100]
    with pytest.raises(ValueError, match="does not count epochs"):
        run.series("loss", "epoch")


def test_read_run_when_resumed_then_the_later_start_wins_where_they_overlap(tmp_path) -> None:
    write_log(tmp_path, "20260101_000000", epoch_log(1, 5, 20, 10, 1.0))
    write_log(tmp_path, "20260102_000000", epoch_log(4, 6, 20, 10, 2.0))
    run = read_run(tmp_path)
    places, losses = run.series("loss")
    assert places.tolist() == list(range(10, 121, 10))
    assert losses.tolist() == [1.0] * 6 + [2.0] * 6
    assert run.series("coco/segm_mAP_50")[0].tolist() == [20, 40, 60, 80, 100, 120]


def test_read_run_when_resume_was_cut_short_then_abandoned_iterations_are_dropped(tmp_path) -> None:
    write_log(tmp_path, "20260101_000000", epoch_log(1, 5, 20, 10, 1.0))
    write_log(tmp_path, "20260102_000000", [train_record(50, 2.0, 3)])
    assert read_run(tmp_path).series("loss")[0].tolist() == [10, 20, 30, 40, 50]


def test_read_run_when_started_over_then_says_so(tmp_path, caplog) -> None:
    write_log(tmp_path, "20260101_000000", epoch_log(1, 5, 20, 10, 1.0))
    write_log(tmp_path, "20260102_000000", epoch_log(1, 1, 20, 10, 2.0))
    assert read_run(tmp_path).series("loss")[1].tolist() == [2.0, 2.0]
    assert "started over" in caplog.text


def test_read_run_when_the_last_line_is_cut_at_any_place_then_the_rest_is_read(tmp_path) -> None:
    records = epoch_log(1, 2, 20, 10, 1.0)
    last = len(json.dumps(records[-1])) + 1
    for cut in range(1, last + 1):
        log = write_log(tmp_path / str(cut), "20260101_000000", records, cut)
        assert len(read_records(log)) == len(records) - (cut > 1)


def test_series_when_a_score_is_absent_then_leaves_it_out(tmp_path) -> None:
    records = [
        train_record(1, -1.0),
        {"coco/segm_mAP_l": -1, "coco/segm_x_AP": math.nan, "step": 1},
        {"coco/segm_mAP_l": 0.5, "coco/segm_x_AP": 0.2, "step": 2},
    ]
    write_log(tmp_path, "20260101_000000", records)
    run = read_run(tmp_path)
    assert run.series("coco/segm_mAP_l")[1].tolist() == [0.5]
    assert run.series("coco/segm_x_AP")[1].tolist() == [0.2]
    assert run.series("loss")[1].tolist() == [-1.0]
    assert run.series("absent")[0].shape == (0,)
    assert run.keys() == (["loss", "time", "data_time"], ["coco/segm_mAP_l", "coco/segm_x_AP"])


def test_find_logs_when_given_a_start_or_a_file_then_takes_only_that(tmp_path) -> None:
    first = write_log(tmp_path, "20260101_000000", [train_record(1, 1.0)])
    second = write_log(tmp_path, "20260102_000000", [train_record(2, 1.0)])
    assert find_logs(tmp_path) == [first, second]
    assert find_logs(tmp_path / "20260101_000000") == [first]
    assert find_logs(second.parent) == [second]
    assert find_logs(second) == [second]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no training log"):
        find_logs(tmp_path / "empty")


def test_read_run_when_a_file_is_no_log_then_error_names_it(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("epoch 1\n")
    with pytest.raises(ValueError, match=r"a\.txt is not a training log"):
        read_run(tmp_path / "a.txt")
    (tmp_path / "b.json").write_text("")
    with pytest.raises(ValueError, match="no record yet"):
        read_run(tmp_path / "b.json")


@pytest.mark.parametrize(
    "line",
    [
        '{"iter": null}',
        '{"iter": [1], "epoch": 1}',
        '{"iter": 1.5}',
        '{"iter": 3, "epoch": "x"}',
        '{"iter": 3, "time": {}}',
        '{"iter": ' + "9" * 20 + "}",
        '{"iter": ' + "9" * 5000 + "}",
        "[" * 100_000,
    ],
)
def test_read_records_when_a_line_holds_no_usable_steps_then_it_is_left_out(tmp_path, line) -> None:
    log = tmp_path / "scalars.json"
    log.write_text(f"{line}\n" + json.dumps(train_record(5, 1.0, 1)) + "\n")
    assert [record["iter"] for record in read_records(log)] == [5]


def test_count_iters_per_epoch_when_an_epoch_is_zero_then_it_does_not_count() -> None:
    records = [train_record(5, 1.0, 0), train_record(10, 1.0, 1)]
    assert count_iters_per_epoch(records) == 10
