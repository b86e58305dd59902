"""Checkpoints between epochs: every few minutes, and when the machine is taken away."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from cellseg.fileio import write_atomically
from cellseg.stopping import StoppedError

CHECKPOINT_NAME = "interrupted.pth"
"""The checkpoint within an epoch; `last_checkpoint` names it until a later one is there."""
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
_GO_ON, _SAVE, _END = 0, 1, 2


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Save at the next step after SIGTERM or SIGUSR1, end, and let SLURM start the job again.

    SLURM sends SIGTERM when it takes nodes away, and with `--signal=USR1@SECONDS` another signal
    before the time limit. All processes of a run save at the same step. A second signal ends the
    run at once.

    Args:
        minutes: Save at least so often, too; None for epochs' checkpoints only.
    """

    priority = "VERY_LOW"  # after all that belongs to the step

    def __init__(self, minutes: float | None = None) -> None:
        """Keep the interval."""
        self.minutes = minutes
        self._signal: int | None = None
        self._saved_at = time.monotonic()
        self._before: dict[int, Any] = {}
        self._buffers: list[dict[str, torch.Tensor]] = []

    def before_run(self, runner: Runner) -> None:
        """Listen to the signals, in all processes before one of them trains."""
        self._saved_at = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        dist.barrier()

    def before_train(self, runner: Runner) -> None:
        """Let the loader's processes live until the step that is saved."""
        _outlast_signals(runner.train_dataloader)

    def before_val(self, runner: Runner) -> None:
        """Let the loader's processes live until the validation ends."""
        _outlast_signals(runner.val_dataloader)

    def after_train(self, runner: Runner) -> None:
        """Leave the signals as they were."""
        self._restore_signals()

    def _restore_signals(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Save within an epoch, where it is time to."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            is_last = (runner.iter + 1) % len(runner.train_dataloader) == 0
            if is_last:  # the end of the epoch belongs to it
                return
        self._obey(runner, runner.epoch, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Save after an epoch, where it is time to; else remove what another file replaces."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._obey(runner, runner.epoch + 1, runner.iter)
        record, own = Path(runner.work_dir) / "last_checkpoint", self._path(runner)
        if not (dist.is_main_process() and own.is_file() and record.is_file()):
            return
        if Path(record.read_text("utf-8").strip()).name != own.name:
            own.unlink()

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """End during a validation, whose epoch is done; several processes end at the next step."""
        if self._signal is not None and dist.get_world_size() == 1:
            self._obey(runner, runner.epoch, runner.iter, is_saving=False)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add what only the other processes know: the statistics of their batch norms."""
        if self._buffers:
            checkpoint["buffers_of_processes"] = self._buffers

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take this process's own statistics."""
        everyone = checkpoint.get("buffers_of_processes") or []
        if runner._resume and len(everyone) == dist.get_world_size():
            checkpoint["state_dict"].update(everyone[dist.get_rank()])

    def _obey(self, runner: Runner, epoch: int, step: int, is_saving: bool = True) -> None:
        """Save and end, as far as one of the processes wants that."""
        order = self._agree()
        if order == _END or (order == _SAVE and is_saving):
            self._save(runner, epoch, step)
        if order == _END:
            self._end()

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; the second one ends the run at once."""
        if self._signal is not None:
            raise StoppedError(number)
        self._signal = number

    def _agree(self) -> int:
        """Return what all processes do now: the most that one of them wants."""
        order = _GO_ON
        if self._signal is not None:
            order = _END
        elif self.minutes is not None and time.monotonic() - self._saved_at > self.minutes * 60:
            order = _SAVE
        if dist.get_world_size() == 1:
            return order
        everyone = torch.tensor(order, device=dist.get_comm_device())
        dist.all_reduce(everyone, "max")
        return int(everyone)

    def _save(self, runner: Runner, epoch: int, step: int) -> None:
        """Save all of the training's state."""
        self._buffers = _gather_buffers(runner.model)
        runner.save_checkpoint(
            str(self._path(runner).parent),
            CHECKPOINT_NAME,
            meta={"epoch": epoch, "iter": step},
            by_epoch=False,
        )
        self._buffers = []
        if dist.is_main_process():
            write_atomically(Path(runner.work_dir) / "last_checkpoint", str(self._path(runner)))
        self._saved_at = time.monotonic()
        print_log(f"Saved {self._path(runner)} at step {step}.", "current")

    def _end(self) -> None:
        """End, once all processes know that the state is saved."""
        dist.barrier()
        self._restore_signals()
        raise StoppedError(self._signal or signal.SIGTERM)

    def _path(self, runner: Runner) -> Path:
        """Name the checkpoint."""
        return Path(runner.work_dir) / CHECKPOINT_NAME


def _outlast_signals(loader: DataLoader) -> None:
    """Let a loader's processes outlast a signal to all processes, as `timeout` sends it."""
    begin = loader.worker_init_fn
    if not isinstance(begin, partial) or begin.func is not _begin_worker:
        loader.worker_init_fn = partial(_begin_worker, begin)


def _begin_worker(begin: Callable[[int], None] | None, number: int) -> None:
    """Begin a loader's process."""
    if hasattr(signal, "sigwaitinfo"):  # not on macOS and Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        threading.Thread(target=_wait_for_parent, daemon=True).start()
    if begin is not None:
        begin(number)


def _wait_for_parent() -> None:
    """End this process when its parent says so, and not when another process does."""
    while signal.sigwaitinfo(_SIGNALS).si_pid != os.getppid():
        pass
    os._exit(0)


def _gather_buffers(model: torch.nn.Module) -> list[dict[str, torch.Tensor]]:
    """Gather each process's buffers, averaged only after an epoch; [] for a single one."""
    if dist.get_world_size() == 1:
        return []
    own = {
        name.removeprefix("module."): value.detach().cpu() for name, value in model.named_buffers()
    }
    saved = {name.removeprefix("module.") for name in model.state_dict()}
    everyone: list[Any] = dist.all_gather_object({k: v for k, v in own.items() if k in saved})
    return everyone


@contextmanager
def requeue_when_stopped() -> Iterator[None]:
    """Let SLURM start the job again where a signal ends the block, begun or not."""
    is_main = threading.current_thread() is threading.main_thread()
    number = getattr(signal, "SIGUSR1", None)
    before = signal.signal(number, _stop) if is_main and number is not None else None
    try:
        yield
    except StoppedError:
        if os.environ.get("SLURM_PROCID", "0") == "0":
            requeue_job()
        raise
    finally:
        if is_main and number is not None:
            signal.signal(number, before)


def _stop(number: int, frame: FrameType | None) -> None:
    """Handle a signal outside of training."""
    raise StoppedError(number)


def requeue_job() -> bool:
    """Ask SLURM to start this job again; what it answers is logged.

    Returns:
        Whether it will; False outside of a job, too.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return False
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        text = f"SLURM does not answer ({error}); start the job again."
        print_log(text, "current", logging.WARNING)
        return False
    if done.returncode:
        print_log(
            f"SLURM does not start the job {job} again ({done.stderr.strip()}); hand it in again "
            "with --resume.",
            "current",
            logging.WARNING,
        )
    return done.returncode == 0


def count_restarts() -> int:
    """Count how often SLURM or torchrun has started this run again."""
    names = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
    counts = [os.environ.get(name, "0") for name in names]
    return sum(int(count) for count in counts if count.isdigit())
