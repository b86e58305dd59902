"""See also test_exact_resume_hook.py, which stops trainings by signals."""

import os
import signal
from pathlib import Path

import pytest
import torch

from cellseg.engine import load_checkpoint_file
from cellseg.engine.preemption_hook import (
    PreemptionHook,
    count_restarts,
    requeue_job,
    requeue_when_stopped,
)
from cellseg.stopping import StoppedError

from .test_exact_resume_hook import STEPS, NoisyModel, train


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scontrol that notes what it is asked."""
    notes = tmp_path / "notes"
    program = tmp_path / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >> {notes}\n[ "$2" = 7 ]\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return notes


def test_job_when_it_is_stopped_then_slurm_is_asked_to_start_it_again(
    scontrol, monkeypatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert not requeue_job()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert requeue_job()
    assert scontrol.read_text() == "requeue 7\n"
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    assert not requeue_job()


def test_start_when_a_signal_ends_it_then_slurm_is_asked_by_the_first_process_only(
    scontrol, monkeypatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    before = signal.getsignal(signal.SIGUSR1)
    for process in ("1", "0"):
        monkeypatch.setenv("SLURM_PROCID", process)
        with pytest.raises(StoppedError), requeue_when_stopped():
            os.kill(os.getpid(), signal.SIGUSR1)
        assert scontrol.exists() == (process == "0")
    with pytest.raises(ValueError, match="other"), requeue_when_stopped():
        raise ValueError("other")
    assert scontrol.read_text() == "requeue 7\n"
    assert signal.getsignal(signal.SIGUSR1) == before


def test_restarts_when_slurm_or_torchrun_counts_then_they_are_known(monkeypatch) -> None:
    for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    assert count_restarts() == 0
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert count_restarts() == 2


def test_training_when_minutes_have_passed_then_it_saves_within_an_epoch(
    tmp_path, monkeypatch
) -> None:
    saved = []
    save = PreemptionHook._save

    def note(hook, runner, epoch, step) -> None:
        save(hook, runner, epoch, step)
        meta = load_checkpoint_file(tmp_path / "interrupted.pth")["meta"]
        saved.append((meta["epoch"], meta["iter"]))

    monkeypatch.setattr(PreemptionHook, "_save", note)
    train(tmp_path, minutes=1e-9)
    assert saved[:5] == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5)]
    assert saved[-1] == (3, 3 * STEPS)


def test_statistics_of_processes_when_loaded_then_each_takes_its_own(monkeypatch) -> None:
    own = {"layers.0.running_mean": torch.tensor([5.0])}
    checkpoint = {
        "state_dict": NoisyModel().state_dict(),
        "buffers_of_processes": [{"layers.0.running_mean": torch.tensor([1.0])}, own],
    }

    class Resuming:
        _resume = True

    monkeypatch.setattr("cellseg.engine.preemption_hook.dist.get_world_size", lambda: 2)
    monkeypatch.setattr("cellseg.engine.preemption_hook.dist.get_rank", lambda: 1)
    PreemptionHook().after_load_checkpoint(Resuming(), checkpoint)
    assert checkpoint["state_dict"]["layers.0.running_mean"].item() == 5.0
