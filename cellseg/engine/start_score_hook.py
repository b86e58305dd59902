"""Validate before the first step, and warn where training ends below that."""

from __future__ import annotations

import logging
import math
from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner


@HOOKS.register_module()
class StartScoreHook(Hook):
    """Compare a training with the model that it starts from, on the validation data.

    Args:
        metric: The score that is compared; larger is better.
    """

    priority = "LOWEST"  # after the hooks that prepare weights and checkpoints

    def __init__(self, metric: str = "coco/segm_mAP_50") -> None:
        """Keep the metric's name."""
        self.metric = metric
        self.start = math.nan
        self.last = math.nan
        self.best = -math.inf

    def before_train(self, runner: Runner) -> None:
        """Validate the start; a resumed training is past it."""
        if runner.iter > 0 or runner.val_loop is None:
            return
        self.start = math.nan
        scores = runner.val_loop.run()
        self.start = float((scores or {}).get(self.metric, math.nan))
        self.last, self.best = math.nan, -math.inf
        print_log(f"Before training, {self.metric} is {self.start:.3f} on validation.", "current")

    def after_val_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Keep the score, and say at once where it is below the start's."""
        score = float((metrics or {}).get(self.metric, math.nan))
        if math.isnan(score) or math.isnan(self.start):
            return
        self.last, self.best = score, max(self.best, score)
        if score < self.start:
            _warn(
                f"{self.metric} is {score:.3f} on validation, below the {self.start:.3f} that "
                "training started from."
            )

    def after_train(self, runner: Runner) -> None:
        """Warn where no step was worth it."""
        if not math.isnan(self.start) and self.best < self.start and not math.isnan(self.last):
            _warn(
                f"Training made the model worse on validation ({self.metric} {self.best:.3f} at "
                f"best, {self.start:.3f} before): use the model it started from, or train with "
                "more images or a lower optim_wrapper.optimizer.lr."
            )


def _warn(message: str) -> None:
    """Log a warning."""
    print_log(message, "current", logging.WARNING)
