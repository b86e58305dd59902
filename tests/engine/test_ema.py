"""MMEngine's EMAHook with this project's checkpoints: averaged, safe to read, resumable."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from cellseg.engine import load_checkpoint_file
from tests.engine.toy_training import EPOCHS, ToyModel, build_runner, read_weights

EMA = dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.001, gamma=10)


class WeightDiary(Hook):
    """Keep the trained weights after every step, and those that are validated."""

    priority = "LOW"  # after the average took the step in

    def __init__(self) -> None:
        self.trained: list[list[float]] = []
        self.validated: list[list[float]] = []

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        self.trained.append(read_weights(runner.model))

    def before_val_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        self.validated.append(read_weights(runner.model))


def train(work_dir: Path, **settings: Any) -> tuple[Any, WeightDiary]:
    diary = WeightDiary()
    runner = build_runner(work_dir, custom_hooks=[EMA, diary], **settings)
    runner.train()
    return runner, diary


def average(steps: list[list[float]]) -> list[float]:
    """Do by hand what MomentumAnnealingEMA documents."""
    mean = torch.tensor(steps[0])
    for count, step in enumerate(steps):
        mean = torch.lerp(mean, torch.tensor(step), max(0.001, 10 / (10 + count)))
    return mean.tolist()


def test_checkpoint_when_saved_with_ema_then_its_state_dict_is_the_average(tmp_path: Path) -> None:
    runner, diary = train(tmp_path)
    checkpoint = load_checkpoint_file(tmp_path / f"epoch_{EPOCHS}.pth")
    saved = [float(value) for value in checkpoint["state_dict"].values()]
    assert saved == pytest.approx(average(diary.trained))
    assert saved == pytest.approx(diary.validated[-1])
    assert saved != pytest.approx(diary.trained[-1], abs=1e-4)
    assert read_weights(runner.model) == diary.trained[-1]  # training goes on with its own
    assert int(checkpoint["ema_state_dict"]["steps"]) == len(diary.trained)


def test_run_when_resumed_then_it_ends_as_if_never_stopped(tmp_path: Path) -> None:
    whole, whole_diary = train(tmp_path / "whole")
    train(tmp_path / "parts", epochs=2)
    resumed, diary = train(tmp_path / "parts", resume="auto")
    assert len(diary.trained) == len(whole_diary.trained) // 2
    assert read_weights(resumed.model) == pytest.approx(read_weights(whole.model))
    ends = [
        load_checkpoint_file(tmp_path / name / f"epoch_{EPOCHS}.pth")["state_dict"]
        for name in ("whole", "parts")
    ]
    for key, value in ends[0].items():
        torch.testing.assert_close(ends[1][key], value)


def test_model_when_started_from_an_ema_checkpoint_then_it_gets_the_average(tmp_path: Path) -> None:
    _, diary = train(tmp_path)
    model = ToyModel()
    model.load_state_dict(load_checkpoint_file(tmp_path / f"epoch_{EPOCHS}.pth")["state_dict"])
    assert read_weights(model) == pytest.approx(average(diary.trained))
