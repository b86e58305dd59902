"""Resuming in the middle of an epoch ends with the very weights of an unbroken run."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, DefaultSampler, RepeatDataset
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import BatchSampler, DataLoader

from cellseg.engine import configure_resume
from cellseg.engine.channels_last_hook import ChannelsLastHook
from cellseg.engine.exact_resume_hook import ExactResumeHook, RestOfLoader, SeedSample
from cellseg.engine.preemption_hook import PreemptionHook
from cellseg.stopping import StoppedError

STEPS = 5  # an epoch


class NoisyData(BaseDataset):
    """Five numbers; each sample is one of them and noise."""

    def load_data_list(self) -> list[dict[str, Any]]:
        return [{"number": float(number)} for number in range(STEPS)]


def add_noise(results: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": torch.tensor([results["number"]]) + torch.randn(1)}


class NoisyModel(BaseModel):
    """A few layers behind a batch norm, with dropout: it draws random numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        to_maps = nn.Sequential(nn.Linear(1, 36), nn.Unflatten(1, (4, 3, 3)))
        self.layers = nn.Sequential(
            nn.BatchNorm1d(1), to_maps, nn.Conv2d(4, 8, 2), nn.Flatten(), nn.Dropout(0.5)
        )

    def forward(self, inputs: torch.Tensor, mode: str = "tensor") -> Any:
        return {"loss": self.layers(inputs).square().mean()}


class SignalAt(Hook):
    """Send this process and those of its data loaders a signal at a step, as SLURM would."""

    priority = "NORMAL"

    def __init__(self, step: int, number: int) -> None:
        self.step, self.number = step, number

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if runner.iter + 1 == self.step:
            for process in (*psutil.Process().children(), psutil.Process()):
                process.send_signal(self.number)


def train(
    folder: Path,
    workers: int = 0,
    stop_at: int | None = None,
    resume: bool = False,
    processes: Config | None = None,
    number: int = signal.SIGTERM,
    minutes: float | None = None,
) -> Any:
    """Train; of several processes, as `init_process_group` has left their config."""
    torch.manual_seed(7)  # of the first weights
    several: dict[str, Any] = {}
    if processes is not None:
        several = {key: processes[key] for key in ("launcher", "custom_hooks", "env_cfg")}
        several["cfg"] = processes  # the model's wrapper
    dataset = NoisyData(pipeline=[add_noise], serialize_data=False)
    dataset = RepeatDataset(dataset, times=2 * get_world_size())
    runner = Runner(
        NoisyModel(),
        str(folder),
        train_dataloader={
            "dataset": dataset,
            "batch_size": 2,
            "collate_fn": {"type": "default_collate"},
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "sampler": {"type": "DefaultSampler", "shuffle": True},
        },
        train_cfg={"by_epoch": True, "max_epochs": 3},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}},
        param_scheduler={"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 12},
        default_hooks={
            "checkpoint": {"type": "AtomicCheckpointHook", "interval": 1},
            "logger": None,
        },
        randomness={"seed": 3 if not resume else None},
        experiment_name=f"{folder.name}_{stop_at}_{resume}_{workers}",
        log_level="ERROR",
        default_scope="mmdet",
        **several,
    )
    if resume:
        cfg = Config({"work_dir": str(folder)})
        configure_resume(cfg, "auto")
        runner._resume, runner._load_from = cfg.resume, cfg.load_from
    for hook in (ChannelsLastHook(always=True), ExactResumeHook(), PreemptionHook(minutes)):
        runner.register_hook(hook)
    if stop_at is not None:
        runner.register_hook(SignalAt(stop_at, number))
    runner.train()
    return runner.model.state_dict(), runner


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop_at", [2, STEPS, STEPS + 3])
def test_training_when_stopped_by_a_signal_then_it_ends_with_equal_weights(
    tmp_path: Path, stop_at: int, workers: int
) -> None:
    whole, _ = train(tmp_path / "whole", workers)
    broken = tmp_path / "broken"
    with pytest.raises(StoppedError):
        train(broken, workers, stop_at)
    assert Path((broken / "last_checkpoint").read_text()).name == "interrupted.pth"
    resumed, runner = train(broken, workers, resume=True)
    assert runner.iter == 3 * STEPS
    assert set(whole) == set(resumed)
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    assert not (broken / "interrupted.pth").exists()  # epochs' checkpoints have followed
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_two_processes_when_one_gets_a_signal_then_torchrun_ends_with_equal_weights(
    tmp_path: Path, number: int
) -> None:
    script = Path(__file__).with_name("toy_processes.py")
    environment = {**os.environ, "PYTHONPATH": str(script.parents[2]), "OMP_NUM_THREADS": "1"}
    ended = {}
    for name, signals in {"whole": [], "broken": [str(int(number))]}.items():
        folder = tmp_path / name
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
        command += ["--max-restarts=1", "--standalone", str(script), str(folder), *signals]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        assert (folder / "resumed").exists() == (name == "broken")
        ended[name] = [torch.load(folder / f"weights_{rank}.pth") for rank in range(2)]
    for whole, broken in zip(ended["whole"], ended["broken"], strict=True):
        assert all(torch.equal(value, broken[key]) for key, value in whole.items())


def test_sampler_when_a_batch_sampler_holds_it_then_it_gets_the_seed_of_the_run() -> None:
    dataset = NoisyData(pipeline=[add_noise], serialize_data=False)
    sampler = DefaultSampler(dataset, seed=1)
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    loader = DataLoader(dataset, batch_sampler=BatchSampler(sampler, 2, False))
    runner = SimpleNamespace(train_loop=loop, train_dataloader=loader, seed=5)
    ExactResumeHook().before_train(runner)
    assert sampler.seed == 5


def test_seed_sample_when_epoch_or_place_changes_then_so_do_the_numbers() -> None:
    state = torch.tensor([5, 0])
    drawn = set()
    for epoch in (0, 1, 0):
        state[1] = epoch
        for place in (0, 1):
            SeedSample(state)({"sample_idx": place})
            drawn.add(float(torch.rand(1)))
    assert len(drawn) == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_when_a_data_set_repeats_them_then_each_repetition_differs(workers: int) -> None:
    repeated = RepeatDataset(NoisyData(pipeline=[add_noise], serialize_data=False), times=6)
    loader = DataLoader(repeated, num_workers=workers, persistent_workers=workers > 0)
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    hook = ExactResumeHook()
    hook.before_train(SimpleNamespace(train_loop=loop, train_dataloader=loader, seed=5))

    def draw_noise(epoch: int) -> list[float]:
        hook._state[1] = epoch
        values = [float(batch["inputs"]) for batch in loader]
        numbers = list(range(STEPS)) * 6
        return [round(value - number, 4) for value, number in zip(values, numbers, strict=True)]

    first = draw_noise(0)
    assert len(set(first)) == len(first)
    assert draw_noise(0) == first
    assert len({*first, *draw_noise(1)}) == 2 * len(first)


def test_rest_of_loader_always_keeps_the_length_of_the_epoch() -> None:
    rest = RestOfLoader([1, 2, 3], 2)
    assert (len(rest), list(rest)) == (3, [3])
