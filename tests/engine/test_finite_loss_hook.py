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
from tests.engine.toy_training import ToyData, ToyModel, build_runner


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


@pytest.mark.parametrize(
    "losses", [(0.5, math.nan), (math.inf, 0.5), (math.inf, -math.inf), (6e3, 6e3)]
)
def test_step_when_the_model_gives_no_total_then_the_sum_of_its_losses_is_looked_at(
    losses: tuple[float, float], tmp_path: Path
) -> None:
    outputs = dict(zip(("loss_cls", "dec.loss_box"), map(torch.tensor, losses), strict=True))
    with pytest.raises(NonFiniteLossError, match="non_finite_batch.json"):
        FiniteLossHook().after_train_iter(make_runner(tmp_path), 0, make_batch("a"), outputs)


def test_step_when_what_is_no_loss_is_large_then_nothing(tmp_path: Path) -> None:
    outputs = {"loss_cls": torch.tensor(0.5), "num_pixels": torch.tensor(1e9)}
    FiniteLossHook().after_train_iter(make_runner(tmp_path), 0, None, outputs)
    assert list(tmp_path.iterdir()) == []


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


class NamedData(ToyData):
    """The toy's points, each with the image that it was drawn from."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(
            super().__getitem__(index), data_samples=make_batch(f"image-{index}")["data_samples"][0]
        )


class TurnsNan(ToyModel):
    """Give a loss that is no number in the fourth step, and keep the names of its images."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.names: list[str] = []

    def forward(
        self, inputs: Any, targets: Any, mode: str = "tensor", data_samples: Any = ()
    ) -> Any:
        outputs = super().forward(torch.stack(inputs), torch.stack(targets), mode)
        if mode == "loss":
            self.steps += 1
            self.names = [sample.img_name for sample in data_samples]
            outputs["loss"] = outputs["loss"] * (math.nan if self.steps == 4 else 1)
        return outputs


def test_runner_when_loss_turns_nan_then_names_its_images_and_last_checkpoint_is_finite(
    tmp_path: Path,
) -> None:
    model = TurnsNan()
    (tmp_path / "non_finite_batch.json").write_text("of an earlier run")
    runner = build_runner(
        tmp_path,
        model=model,
        data=NamedData(),
        collate="pseudo_collate",
        custom_hooks=[dict(type="FiniteLossHook")],
    )
    with pytest.raises(NonFiniteLossError, match="epoch 2, iteration 4"):
        runner.train()
    report = json.loads((tmp_path / "non_finite_batch.json").read_text())
    assert report["iter"] == 4
    assert [image["img_name"] for image in report["images"]] == model.names
    assert len(set(model.names)) == 4
    assert (tmp_path / "epoch_1.pth").is_file()
    assert not (tmp_path / "epoch_2.pth").exists()
    assert HOOKS.get("FiniteLossHook") is FiniteLossHook


def test_runner_when_resumed_with_another_rate_then_the_checkpoints_rate_stays(
    tmp_path: Path,
) -> None:
    """As the error says: a lower rate needs a training of its own."""
    build_runner(tmp_path, epochs=1).train()
    lower = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-9))
    runner = build_runner(tmp_path, epochs=2, resume=True, optim_wrapper=lower)
    runner.train()
    assert runner.optim_wrapper.get_lr()["lr"][0] > 0.01
