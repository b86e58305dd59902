"""Checkpoints of other models are refused, or their share is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cellseg.engine import CheckpointError, WeightFitHook
from cellseg.engine.weight_fit import compare_weights, require_fit, warn_of_other_names
from tests.engine.toy_training import EPOCHS, build_runner


class Heads(nn.Module):
    """A backbone and the box classifier of some classes."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.backbone = nn.Linear(2, 3)
        self.fc_cls = nn.Linear(3, num_classes + 1)


def test_compare_weights_when_classes_differ_then_both_counts_are_named() -> None:
    fit = compare_weights(Heads(2), Heads(4).state_dict())
    assert fit.misfits == ("fc_cls.weight", "fc_cls.bias")
    assert "2 of 4 weights" in fit.describe()
    assert "the checkpoint knows 4 classes, the config 2" in fit.describe()


def test_require_fit_when_names_have_the_prefix_of_several_processes_then_they_fit() -> None:
    weights = {f"module.{name}": value for name, value in Heads(2).state_dict().items()}
    require_fit(Heads(2), weights, "a.pth", "a.py")


def save(folder: Path, **weights: torch.Tensor) -> str:
    path = folder / "other.pth"
    torch.save(
        {"meta": {}, "state_dict": {k.replace("_", "."): v for k, v in weights.items()}}, path
    )
    return str(path)


def train(folder: Path, **settings: Any) -> Any:
    runner = build_runner(folder / "run", **settings)
    runner.register_hook(WeightFitHook())
    runner.train()
    return runner


@pytest.fixture
def messages(listen: Callable[..., list[str]]) -> list[str]:
    """Collect what is logged."""
    return listen("cellseg.engine.weight_fit")


def test_load_from_when_no_weight_fits_then_training_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, circle_weight=torch.ones(3, 3))
    with pytest.raises(CheckpointError, match=r"other\.pth of load_from does not fit.*none of 2"):
        train(tmp_path, load_from=path)


def test_load_from_when_some_weights_fit_then_their_number_is_logged(tmp_path, messages) -> None:
    train(tmp_path, load_from=save(tmp_path, line_weight=torch.ones(1, 1)))
    assert any("1 of 2 weights taken" in text for text in messages)


@pytest.fixture
def resumed(tmp_path: Path) -> Path:
    train(tmp_path, epochs=2)
    return tmp_path


def test_resume_when_nothing_changed_then_nothing_is_said(resumed, messages) -> None:
    train(resumed, epochs=2, resume="auto", custom_hooks=[])
    assert [text for text in messages if "nothing is left to train" not in text] == []


def test_resume_when_all_epochs_are_done_then_it_is_said(resumed, messages) -> None:
    train(resumed, epochs=2, resume="auto")
    assert any("nothing is left to train; raise train_cfg.max_epochs" in text for text in messages)


def test_resume_when_it_is_longer_then_both_ends_are_named(resumed, messages) -> None:
    train(resumed, epochs=EPOCHS, resume="auto")
    assert any("max_epochs was 2 when it was saved and is 4 now" in text for text in messages)


def test_resume_when_the_schedule_differs_then_the_old_one_is_said_to_go_on(tmp_path, messages):
    def schedule(end: int) -> list[dict[str, Any]]:
        return [dict(type="LinearLR", start_factor=0.5, by_epoch=True, begin=0, end=end)]

    train(tmp_path, epochs=2, param_scheduler=schedule(2))
    train(tmp_path, epochs=EPOCHS, param_scheduler=schedule(4), resume="auto")
    assert any("old schedule" in text and "load_from=" in text for text in messages)


def test_resume_when_the_rate_differs_then_the_old_one_is_said_to_go_on(tmp_path, messages):
    for rate, resume in ((0.1, None), (0.01, "auto")):
        wrapper = dict(optimizer=dict(type="SGD", lr=rate))
        train(tmp_path, epochs=2, optim_wrapper=wrapper, resume=resume)
    assert any("old schedule" in text for text in messages)


def test_resume_when_the_checkpoint_has_no_average_then_it_is_said(resumed, messages) -> None:
    train(resumed, epochs=3, resume="auto", custom_hooks=[dict(type="EMAHook")])
    assert any("holds no averaged weights" in text for text in messages)


def test_resume_when_the_config_lost_the_average_then_it_is_said(tmp_path, messages) -> None:
    train(tmp_path, epochs=2, custom_hooks=[dict(type="EMAHook")])
    train(tmp_path, epochs=3, resume="auto")
    assert any("was trained with an EMAHook" in text for text in messages)


def test_names_when_the_order_differs_then_it_is_said(messages: list[str]) -> None:
    checkpoint = {"meta": {"dataset_meta": {"classes": ("a", "b")}}}
    warn_of_other_names(checkpoint, ["a", "b"], "x.pth")
    assert not messages
    warn_of_other_names(checkpoint, ["b", "a"], "x.pth")
    assert "was trained for the classes a, b" in messages[0]
