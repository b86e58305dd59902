"""A loss that is no number stops the run and leaves the names of its images."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from cellseg.engine import FiniteLossHook, NonFiniteLossError
from tests.engine.toy_training import ToyModel, build_runner


def make_runner(work_dir: Path, iteration: int = 0) -> Any:
    return SimpleNamespace(work_dir=str(work_dir), epoch=4, iter=iteration)


def make_batch(*names: str) -> dict[str, Any]:
    samples = []
    for number, name in enumerate(names):
        sample = DetDataSample(
            metainfo=dict(img_id=number, img_name=name, img_path=f"/data/{name}/image.tif")
        )
        sample.gt_instances = InstanceData(labels=torch.zeros(number))
        samples.append(sample)
    return {"inputs": [], "data_samples": samples}


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 1e9])
def test_step_when_loss_is_no_number_or_explodes_then_error_and_names(
    loss: float, tmp_path: Path
) -> None:
    outputs = {"loss": torch.tensor(loss), "loss_cls": torch.tensor(0.5)}
    with pytest.raises(NonFiniteLossError, match="non_finite_batch.json"):
        FiniteLossHook().after_train_iter(
            make_runner(tmp_path, 7), 0, make_batch("a", "dense/b"), outputs
        )
    report = json.loads((tmp_path / "non_finite_batch.json").read_text())
    assert report["images"] == [
        {"img_id": 0, "img_name": "a", "img_path": "/data/a/image.tif", "num_cells": 0},
        {"img_id": 1, "img_name": "dense/b", "img_path": "/data/dense/b/image.tif", "num_cells": 1},
    ]
    assert (report["epoch"], report["iter"], report["losses"]["loss_cls"]) == (5, 8, "0.5")


@pytest.mark.parametrize(("limit", "loss"), [(1e4, 9999.0), (None, 1e30), (0.5, 0.5)])
def test_step_when_loss_is_within_the_limit_then_nothing(
    limit: float | None, loss: float, tmp_path: Path
) -> None:
    hook = FiniteLossHook(max_loss=limit)
    hook.after_train_iter(make_runner(tmp_path), 0, None, {"loss": torch.tensor(loss)})
    assert list(tmp_path.iterdir()) == []


def test_step_when_between_intervals_then_the_loss_is_not_read(tmp_path: Path) -> None:
    class Unread:
        def __float__(self) -> float:
            raise AssertionError("read")

    hook = FiniteLossHook(interval=3)
    for iteration in (0, 1, 3, 4):
        hook.after_train_iter(make_runner(tmp_path, iteration), 0, None, {"loss": Unread()})
    with pytest.raises(AssertionError, match="read"):
        hook.after_train_iter(make_runner(tmp_path, 2), 0, None, {"loss": Unread()})


def test_step_when_another_process_reported_first_then_its_report_stays(tmp_path: Path) -> None:
    (tmp_path / "non_finite_batch.json").write_text("first")
    with pytest.raises(NonFiniteLossError):
        FiniteLossHook().after_train_iter(
            make_runner(tmp_path), 0, None, {"loss": torch.tensor(math.nan)}
        )
    assert (tmp_path / "non_finite_batch.json").read_text() == "first"


def test_interval_when_not_positive_then_error() -> None:
    with pytest.raises(ValueError, match="interval >= 1"):
        FiniteLossHook(interval=0)


def test_runner_when_loss_turns_nan_then_stops_and_last_checkpoint_is_finite(
    tmp_path: Path,
) -> None:
    class TurnsNan(ToyModel):
        def forward(self, inputs: Any, targets: Any, mode: str = "tensor") -> Any:
            outputs = super().forward(inputs, targets, mode)
            if mode == "loss" and self.steps > 2:
                outputs["loss"] = outputs["loss"] * math.nan
            self.steps += mode == "loss"
            return outputs

    model = TurnsNan()
    model.steps = 0
    (tmp_path / "non_finite_batch.json").write_text("of an earlier run")
    runner = build_runner(tmp_path, model=model, custom_hooks=[dict(type="FiniteLossHook")])
    with pytest.raises(NonFiniteLossError, match="epoch 2, iteration 4"):
        runner.train()
    assert json.loads((tmp_path / "non_finite_batch.json").read_text())["iter"] == 4
    assert (tmp_path / "epoch_1.pth").is_file()
    assert not (tmp_path / "epoch_2.pth").exists()
    assert HOOKS.get("FiniteLossHook") is FiniteLossHook
