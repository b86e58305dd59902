"""Crafted training state ends in one sentence, not in a traceback."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from cellseg.engine import CheckpointError
from cellseg.engine.resume_checks import check_training_state, guard_loading
from tests.engine.toy_training import build_runner


@pytest.mark.parametrize(
    "state",
    [
        {"meta": {"epoch": "3"}},
        {"meta": {"iter": -1}},
        {"meta": {"iter": 2**62}},
        {"meta": {"epoch": True}},
        {"meta": {"epoch": None}},
        {"message_hub": {"log_scalars": [1]}},
        {"message_hub": {"log_scalars": {1: HistoryBuffer()}}},
        {"message_hub": {"log_scalars": {"loss": {"a": 1}}}},
        {"message_hub": {"log_scalars": {"loss": HistoryBuffer(np.zeros((2, 2)), np.ones(2))}}},
        {"message_hub": {"resumed_keys": {"a": "yes"}}},
        {"message_hub": {"runtime_info": 5}},
        {"optimizer": "adam"},
        {"param_schedulers": 7},
    ],
)
def test_state_when_crafted_then_refused_by_name(state: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"cannot go on from bad\.pth: its .* damaged"):
        check_training_state(state, "bad.pth")


def test_state_when_it_is_one_then_nothing_happens() -> None:
    history = HistoryBuffer([0.5, float("nan")], [1, 1])
    hub = {
        "log_scalars": {"loss": history},
        "runtime_info": {"a": [1]},
        "resumed_keys": {"a": True},
    }
    state = {"meta": {"epoch": 3, "iter": 30}, "message_hub": hub, "optimizer": {}}
    check_training_state(state, "good.pth")
    check_training_state({}, "weights.pth")


@pytest.mark.parametrize("part", ["optimizer", "param_schedulers"])
def test_resume_when_optimizer_or_schedule_is_of_another_kind_then_one_sentence(
    tmp_path: Path, part: str
) -> None:
    build_runner(tmp_path / "first", epochs=1).train()
    path = next((tmp_path / "first").glob("epoch_*.pth"))
    checkpoint = torch.load(path, weights_only=False)
    checkpoint[part] = {"state": {0: 5}, "param_groups": [{"params": "x"}]}
    torch.save(checkpoint, path)
    runner = build_runner(tmp_path / "second", load_from=str(path), epochs=2)
    runner._resume = True
    guard_loading(runner)
    with pytest.raises(CheckpointError, match=rf"Training cannot go on from {path}: its state is"):
        runner.train()
