"""What training shows on the console."""

import logging
from types import SimpleNamespace

import pytest

from cellseg.engine.training_progress import (
    QuietRunner,
    TrainingProgressHook,
    find_interval,
    write_duration,
)


def make_runner(interval: int = 5, max_iters: int = 20) -> SimpleNamespace:
    hooks = {"logger": {"interval": interval}}
    return SimpleNamespace(
        iter=0,
        max_iters=max_iters,
        max_epochs=0,
        val_loop=None,
        train_loop=SimpleNamespace(val_interval=0),
        cfg={"default_hooks": hooks},
    )


def run_steps(hook: TrainingProgressHook, runner: SimpleNamespace, steps: int) -> None:
    for step in range(steps):
        runner.iter = step
        hook.before_train_iter(runner, step)
        hook.after_train_iter(runner, step, outputs={"loss": 2.0})


def test_progress_when_steps_pass_then_writes_a_line_per_interval_and_the_time_after_ten():
    lines: list[str] = []
    hook = TrainingProgressHook(lines.append)
    run_steps(hook, make_runner(), 20)
    rows = [line for line in lines if "/20" in line]
    assert [row.split()[0] for row in rows] == ["5/20", "10/20", "15/20", "20/20"]
    assert all(row.split()[1] == "2.000" for row in rows)
    assert [line for line in lines if line.startswith("About ")] == [lines[1]]
    assert lines[1].endswith(" left.")


def test_progress_when_validated_then_says_the_score_and_how_it_changed():
    lines: list[str] = []
    hook, runner = TrainingProgressHook(lines.append), make_runner()
    for step, score in ((0, 0.5), (10, 0.8), (20, 0.7)):
        runner.iter = step
        hook.after_val_epoch(runner, {"coco/segm_mAP_50": score})
    assert "validated" in lines[0]
    assert lines[0].endswith("0.500")
    text = hook.describe_end()
    assert "0.700 (before training: 0.500)" in text
    assert "0.800 at best" in text


def test_progress_when_no_score_is_measured_then_says_the_time_only():
    hook = TrainingProgressHook(lambda line: None)
    hook.after_val_epoch(make_runner(), {"other": 1.0})
    assert hook.describe_end() == "Trained in 0 s."


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (120, "2 min"), (7200, "2.0 h")]
)
def test_duration_always_has_one_unit(seconds, text):
    assert write_duration(seconds) == text


def test_interval_when_the_log_has_none_then_is_the_usual_one():
    assert find_interval(make_runner(7)) == 7
    assert find_interval(SimpleNamespace(cfg={})) == 50


def test_quiet_runner_when_it_logs_then_only_warnings_reach_the_console(tmp_path, monkeypatch):
    monkeypatch.setattr(QuietRunner, "__init__", lambda self: None)
    runner = QuietRunner()
    runner._experiment_name = "test_quiet_runner"
    runner._timestamp = "now"
    runner._log_dir = str(tmp_path)
    runner.timestamp_ = "now"
    logger = runner.build_logger("INFO", log_file=str(tmp_path / "x.log"))
    levels = {type(handler): handler.level for handler in logger.handlers}
    assert levels[logging.StreamHandler] == logging.WARNING
    assert levels[logging.FileHandler] == logging.INFO
