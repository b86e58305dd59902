"""bf16 on a CPU: autocast in the forward pass, float32 everywhere else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.registry import OPTIM_WRAPPERS
from mmengine.optim import build_optim_wrapper

from cellseg.engine import CpuAmpOptimWrapper, cpu_amp
from tests.engine.toy_training import ToyModel, build_runner

AMP = dict(type="CpuAmpOptimWrapper", optimizer=dict(type="Adam", lr=0.05))


class Watched(ToyModel):
    """Notes the type in which the layer computes, by mode."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, torch.dtype] = {}

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor, mode: str = "tensor") -> Any:
        self.seen[mode] = self.line(inputs).dtype
        return super().forward(inputs, targets, mode)


def test_train_when_amp_then_forward_is_bf16_and_the_rest_fp32(tmp_path: Path) -> None:
    model = Watched()
    runner = build_runner(tmp_path, model=model, optim_wrapper=dict(AMP), epochs=1)
    runner.train()
    assert isinstance(runner.optim_wrapper, CpuAmpOptimWrapper)
    assert model.seen == {"loss": torch.bfloat16, "predict": torch.float32}
    for weight, state in runner.optim_wrapper.optimizer.state.items():
        assert weight.dtype == state["exp_avg"].dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_train_when_amp_then_losses_fall_as_without(tmp_path: Path) -> None:
    plain = dict(AMP, type="OptimWrapper")
    ends = []
    for name, wrapper in (("amp", dict(AMP)), ("plain", plain)):
        runner = build_runner(tmp_path / name, optim_wrapper=wrapper)
        runner.train()
        ends.append(runner.message_hub.get_scalar("train/loss").current())
    assert ends[0] == pytest.approx(ends[1], rel=0.05)


@pytest.mark.parametrize("first", ["CpuAmpOptimWrapper", "OptimWrapper"])
@pytest.mark.parametrize("second", ["CpuAmpOptimWrapper", "OptimWrapper"])
def test_resume_when_precision_changes_then_state_is_taken_over(
    first: str, second: str, tmp_path: Path
) -> None:
    build_runner(tmp_path, epochs=2, optim_wrapper=dict(AMP, type=first)).train()
    runner = build_runner(tmp_path, resume=True, epochs=3, optim_wrapper=dict(AMP, type=second))
    runner.train()
    steps = {int(state["step"]) for state in runner.optim_wrapper.optimizer.state.values()}
    assert steps == {6}


def test_load_when_state_is_from_a_gpu_run_then_scaler_is_left_out() -> None:
    wrapper = build_optim_wrapper(ToyModel(), dict(AMP, type="OptimWrapper"))
    state = dict(wrapper.state_dict(), loss_scaler={"scale": 65536.0})
    state["param_groups"][0]["lr"] = 0.125
    ours = OPTIM_WRAPPERS.build(
        dict(type="CpuAmpOptimWrapper", optimizer=torch.optim.Adam(ToyModel().parameters()))
    )
    ours.load_state_dict(state)
    assert ours.get_lr() == {"lr": [0.125]}
    assert "loss_scaler" in state
    assert "loss_scaler" not in ours.state_dict()


def test_accumulation_when_amp_then_steps_are_counted(tmp_path: Path) -> None:
    wrapper = dict(AMP, accumulative_counts=2, clip_grad=dict(max_norm=1.0))
    runner = build_runner(tmp_path, epochs=2, optim_wrapper=wrapper)
    runner.train()
    steps = {int(state["step"]) for state in runner.optim_wrapper.optimizer.state.values()}
    assert steps == {2}


def test_dtype_when_fp16_then_error() -> None:
    optimizer = torch.optim.Adam(ToyModel().parameters())
    with pytest.raises(ValueError, match="needs dtype='bfloat16', not float16"):
        CpuAmpOptimWrapper(dtype="float16", optimizer=optimizer)


def test_time_bfloat16_always_gives_a_ratio() -> None:
    assert 0 < cpu_amp.time_bfloat16() < float("inf")


@pytest.mark.parametrize(("ratio", "warns"), [(1.6, True), (0.5, False)])
def test_warn_of_slow_bfloat16_when_it_does_not_pay_then_says_by_how_much(
    ratio: float, warns: bool, monkeypatch: pytest.MonkeyPatch, listen: Callable[..., list[str]]
) -> None:
    said = listen("cellseg.engine.cpu_amp")
    monkeypatch.setattr(cpu_amp, "time_bfloat16", lambda: ratio)
    cpu_amp.warn_of_slow_bfloat16()
    assert [f"{ratio:.1f} times" in text for text in said] == [True] * warns


@pytest.mark.parametrize(("ratio", "says"), [(0.35, True), (0.85, False), (1.6, False)])
def test_suggest_bfloat16_when_it_pays_then_says_what_it_takes(
    ratio: float, says: bool, monkeypatch: pytest.MonkeyPatch, listen: Callable[..., list[str]]
) -> None:
    said = listen("cellseg.engine.cpu_amp")
    monkeypatch.setattr(cpu_amp, "time_bfloat16", lambda: ratio)
    cpu_amp.suggest_bfloat16()
    assert ["0.35 of its time" in text for text in said] == [True] * says
