"""What training shows on the console: a header, one line per interval, and the end.

MMEngine's own lines go into the log file, where they lose nothing.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import EpochBasedTrainLoop, Runner

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.engine.machine import look_at_machine
from cellseg.engine.record_hook import list_cell_datasets
from cellseg.project_files import show_path

METRIC = "coco/segm_mAP_50"
# Of MMEngine's own hooks; there is nothing to do about them.
_NEEDLESS = (
    '"FileClient" will be deprecated',
    "Please make sure that the mlflow server is running",
)
_STEPS_BEFORE_ESTIMATE = 10
_STEPS_REMEMBERED = 50
_WIDTHS = (11, 9, 8, 12, 7)
_TITLES = ("step", "loss", "s/step", "time left", "AP50")


class QuietRunner(Runner):
    """A Runner whose log goes to the file only; warnings still reach the console."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger, and let it be quiet on the console."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setLevel(max(handler.level, logging.WARNING))
                handler.addFilter(_is_needed)
        return logger

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load weights without MMEngine's line on which backend reads the file."""
        with contextlib.redirect_stdout(io.StringIO()):
            return super().load_checkpoint(*args, **kwargs)


class TrainingProgressHook(Hook):
    """Say what is trained on what, how far training is, and how good the model is.

    Args:
        write: Shows a line to the user.
        start: What training starts from, in a few words; None to leave it out.
    """

    priority = "VERY_LOW"  # before StartScoreHook, whose validation the header must come before

    def __init__(self, write: Callable[[str], None], start: str | None = None) -> None:
        """Keep the options."""
        self.write = write
        self.start_text = start
        self.scores: list[tuple[int, float]] = []
        self.seconds = 0.0
        self._losses: list[float] = []
        self._step_seconds: deque[float] = deque(maxlen=_STEPS_REMEMBERED)
        self._val_seconds = 0.0
        self._mark = self._begin = time.perf_counter()
        self._first_step = 0

    def before_train(self, runner: Runner) -> None:
        """Write the header."""
        self._begin, self._first_step = time.perf_counter(), runner.iter
        for name, text in describe_training(runner, self.start_text):
            self.write(f"{name:<9}{text}")
        self.write("")
        self.write(_write_row(_TITLES))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Start the clock of the first step of an epoch; later ones include loading."""
        if batch_idx == 0:
            self._mark = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Measure a step, and write a line at each interval."""
        now = time.perf_counter()
        self._step_seconds.append(now - self._mark)
        self._mark = now
        loss = (outputs or {}).get("loss", math.nan)
        self._losses.append(float(loss.detach() if isinstance(loss, torch.Tensor) else loss))
        done = runner.iter + 1
        if done - self._first_step == _STEPS_BEFORE_ESTIMATE and done < runner.max_iters:
            self.write(f"About {write_duration(self._estimate(runner, done))} left.")
        if done % find_interval(runner) == 0 or done == runner.max_iters:
            self._write_line(runner, done)

    def before_val(self, runner: Runner) -> None:
        """Start the clock of a validation."""
        self._val_mark = time.perf_counter()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Keep the score and write it."""
        self._val_seconds = time.perf_counter() - getattr(self, "_val_mark", self._begin)
        score = float((metrics or {}).get(METRIC, math.nan))
        if math.isnan(score):
            return
        self.scores.append((runner.iter, score))
        place = f"{runner.iter}/{runner.max_iters}"
        self.write(_write_row((place, "", "", "validated", f"{score:.3f}")))

    def after_train(self, runner: Runner) -> None:
        """Keep how long it took."""
        self.seconds = time.perf_counter() - self._begin

    def _write_line(self, runner: Runner, done: int) -> None:
        """Write how far training is."""
        losses = [loss for loss in self._losses if not math.isnan(loss)]
        self._losses.clear()
        step = sum(self._step_seconds) / max(len(self._step_seconds), 1)
        score = f"{self.scores[-1][1]:.3f}" if self.scores else ""
        loss = f"{sum(losses) / len(losses):.3f}" if losses else ""
        left = write_duration(self._estimate(runner, done))
        self.write(_write_row((f"{done}/{runner.max_iters}", loss, f"{step:.2f}", left, score)))

    def _estimate(self, runner: Runner, done: int) -> float:
        """Estimate the seconds that are left: steps at the recent rate, and validations."""
        step = sum(self._step_seconds) / max(len(self._step_seconds), 1)
        left = (runner.max_iters - done) * step
        return left + self._val_seconds * _count_validations(runner, done)

    def describe_end(self) -> str:
        """Say how long training took, and how good the model is."""
        text = f"Trained in {write_duration(self.seconds)}."
        if not self.scores:
            return text
        (first_step, first), (_, last) = self.scores[0], self.scores[-1]
        text += f" AP50 on the validation images: {last:.3f}"
        if first_step == self._first_step and len(self.scores) > 1:
            text += f" (before training: {first:.3f})"
        best = max(score for _, score in self.scores)
        if best > last:
            text += f"; it was {best:.3f} at best"
        return f"{text}."


def _is_needed(record: logging.LogRecord) -> bool:
    """Return whether a warning says something that a user can act on."""
    return not any(text in record.getMessage() for text in _NEEDLESS)


def describe_training(runner: Runner, start: str | None = None) -> list[tuple[str, str]]:
    """Say in about ten lines what is trained on what.

    Args:
        runner: The Runner, its data sets built.
        start: What training starts from; None where that is not known.

    Returns:
        A title and a text for each line.
    """
    config = runner.cfg
    train = list_cell_datasets(runner.train_dataloader.dataset)
    val = [] if runner.val_loop is None else list_cell_datasets(runner.val_dataloader.dataset)
    model = runner.model.module if hasattr(runner.model, "module") else runner.model
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    backbone = (config.model.get("backbone") or {}).get("type", "")
    machine = look_at_machine()
    batch = config.train_dataloader.get("batch_size", 1)
    per_epoch = len(runner.train_dataloader)
    max_epochs = _count_epochs(runner)
    plural = "" if max_epochs == 1 else "s"
    epochs = f" ({max_epochs} epoch{plural} of {per_epoch})" if max_epochs else ""
    interval = getattr(runner.train_loop, "val_interval", 0)
    unit = "epoch" if max_epochs else "step"
    often = f"every {unit}" if interval == 1 else f"every {interval} {unit}s"
    validated = f", validated {often}" if val else ", never validated"
    dated = Path(runner.log_dir)
    lines = [
        ("config", str(config.filename)),
        ("data", f"{_count_cells(train)}; {_count_cells(val)} validate"),
        ("classes", ", ".join((runner.train_dataloader.dataset.metainfo or {}).get("classes", ()))),
        ("model", f"{type(model).__name__} with {backbone}, {millions:.1f} million parameters"),
        ("device", f"{machine.describe()}, {batch} images per step"),
        ("steps", f"{runner.max_iters}{epochs}{validated}"),
        ("folder", show_path(runner.work_dir)),
        ("log", show_path(dated / f"{dated.name}.log")),
        ("stop", "Ctrl-C; the same command with --resume goes on from the last checkpoint"),
    ]
    if start is not None:
        lines.insert(4, ("start", start))
    return lines


def find_interval(runner: Runner) -> int:
    """Find how many steps lie between two lines: as many as between those of the log."""
    hooks = runner.cfg.get("default_hooks") or {}
    return max(int((hooks.get("logger") or {}).get("interval", 50)), 1)


def write_duration(seconds: float) -> str:
    """Write a time as a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _count_validations(runner: Runner, done: int) -> int:
    """Count the validations that are still to come."""
    interval = getattr(runner.train_loop, "val_interval", 0)
    if runner.val_loop is None or not interval:
        return 0
    max_epochs = _count_epochs(runner)
    if not max_epochs:
        return (runner.max_iters - done) // interval
    per_epoch = max(runner.max_iters // max_epochs, 1)
    return math.ceil(max_epochs / interval) - done // per_epoch // interval


def _count_epochs(runner: Runner) -> int:
    """Return the epochs of a training that counts them, else 0."""
    return runner.max_epochs if isinstance(runner.train_loop, EpochBasedTrainLoop) else 0


def _count_cells(parts: Sequence[CellDataset]) -> str:
    """Say how many images and cells some data sets hold."""
    images = sum(map(len, parts))
    cells = sum(
        not cell["ignore_flag"]
        for part in parts
        for index in range(len(part))
        for cell in part.get_data_info(index)["instances"]
    )
    return f"{images} {'image' if images == 1 else 'images'} with {cells:,} cells"


def _write_row(fields: Sequence[str]) -> str:
    """Write a row of the table, right-aligned."""
    return "".join(f"{text:>{width}}" for text, width in zip(fields, _WIDTHS, strict=True)).rstrip()
