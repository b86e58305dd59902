"""Channels-last order changes the speed, not the numbers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from torch import distributed, nn
from torch.nn import functional

from cellseg.engine import load_checkpoint_file
from cellseg.engine.channels_last_hook import trains_faster_channels_last
from tests.engine.toy_training import build_runner

HOOK = [dict(type="ChannelsLastHook", always=True)]
ADAM = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-3))


class ToyNet(BaseModel):
    """Convolutions with batch and group norm, up and down, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.down = nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.middle = nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False)
        self.groups = nn.GroupNorm(2, 8)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Linear(4, 1)
        self.losses: list[float] = []

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor, mode: str = "tensor") -> Any:
        images = inputs[:, :, None, None] * torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
        features = functional.relu(self.norm(self.down(images)))
        features = functional.relu(self.groups(self.middle(features)))
        error = self.head(self.up(features).mean(dim=(2, 3))) - targets
        if mode != "loss":
            return [error]
        loss = error.square().mean()
        self.losses.append(float(loss))
        return {"loss": loss}


def orders(model: nn.Module) -> set[bool]:
    """Return whether the 4-D weights with more than one channel are channels-last."""
    return {
        weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
        for weight in model.parameters()
        if weight.dim() == 4 and weight.shape[1] > 1
    }


def train(work_dir: Path, hooks: list, **settings: Any) -> Any:
    runner = build_runner(
        work_dir, model=ToyNet(), custom_hooks=hooks, optim_wrapper=dict(ADAM), **settings
    )
    runner.train()
    return runner


def test_training_when_channels_last_then_losses_are_the_same(tmp_path: Path) -> None:
    plain = train(tmp_path / "plain", [])
    ours = train(tmp_path / "ours", HOOK)
    assert orders(plain.model) == {False}
    assert orders(ours.model) == {True}
    assert ours.model.losses == pytest.approx(plain.model.losses, rel=1e-5)
    for mine, other in zip(ours.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6, check_stride=False)


@pytest.fixture
def process_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A group of this process alone."""
    monkeypatch.setenv("LOCAL_RANK", "0")
    store = f"file://{tmp_path / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("is_unused", [False, True])
def test_training_when_its_model_is_wrapped_then_losses_are_the_same(
    process_group: None, is_unused: bool, tmp_path: Path
) -> None:
    plain = train(tmp_path / "plain", [])
    wrapper = dict(
        type="MMDistributedDataParallel",
        device_ids=None,
        find_unused_parameters=is_unused,
        broadcast_buffers=False,
    )
    ours = train(
        tmp_path / "ours",
        HOOK,
        launcher="pytorch",
        env_cfg=dict(dist_cfg=dict(backend="gloo")),
        cfg=dict(model_wrapper_cfg=wrapper),
    )
    assert orders(ours.model) == {True}
    assert ours.model.module.losses == pytest.approx(plain.model.losses, rel=1e-5)


@pytest.mark.parametrize(("first", "second"), [([], HOOK), (HOOK, []), (HOOK, HOOK)])
def test_resume_when_order_changes_then_losses_go_on(
    first: list, second: list, tmp_path: Path
) -> None:
    whole = train(tmp_path / "whole", [])
    train(tmp_path / "run", first, epochs=2)
    resumed = train(tmp_path / "run", second, resume=True)
    assert resumed.model.losses == pytest.approx(whole.model.losses[4:], rel=1e-5)
    assert orders(resumed.model) == {bool(second)}
    if second:
        for weight, state in resumed.optim_wrapper.optimizer.state.items():
            assert state["exp_avg"].stride() == weight.stride()


def test_ema_when_channels_last_then_average_is_too(tmp_path: Path) -> None:
    runner = train(tmp_path, [*HOOK, dict(type="EMAHook")], epochs=1)
    (ema,) = [hook for hook in runner.hooks if type(hook).__name__ == "EMAHook"]
    assert orders(ema.ema_model) == {True}


def test_checkpoint_when_channels_last_then_it_loads_into_a_plain_model(tmp_path: Path) -> None:
    runner = train(tmp_path, HOOK, epochs=1)
    model = ToyNet()
    model.load_state_dict(load_checkpoint_file(tmp_path / "epoch_1.pth")["state_dict"])
    assert orders(model) == {False}
    torch.testing.assert_close(
        list(model.parameters()), list(runner.model.parameters()), check_stride=False
    )


def test_val_when_channels_last_then_order_is_set_before_it(tmp_path: Path) -> None:
    runner = build_runner(tmp_path, model=ToyNet(), custom_hooks=HOOK, scores={0: 0.0})
    runner.val()
    assert orders(runner.model) == {True}


@pytest.mark.parametrize(("capability", "expected"), [("AVX512", True), ("AVX2", False)])
def test_training_when_the_cpu_is_slower_channels_last_then_the_order_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capability: str, expected: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    runner = train(tmp_path, [dict(type="ChannelsLastHook")], epochs=1)
    assert orders(runner.model) == {expected}
    (weight, state), *_ = runner.optim_wrapper.optimizer.state.items()
    assert state["exp_avg"].stride() == weight.stride()


def test_order_when_on_a_gpu_then_is_channels_last() -> None:
    assert trains_faster_channels_last(torch.device("cuda"))
