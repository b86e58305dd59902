"""Stop a training whose loss is no longer a number, and say on which images."""

import json
import math
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from cellseg.errors import CellsegError
from cellseg.fileio import write_atomically

_FILE_NAME = "non_finite_batch.json"
_IMAGE_KEYS = ("img_id", "img_name", "img_path")


class NonFiniteLossError(CellsegError):
    """The loss is NaN, infinite, or above the limit."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop training at a NaN, infinite or exploding loss and save the batch's image names.

    The checkpoints on disk are those from before, so that training can resume from the last one.
    MMEngine reads every loss for its log in each iteration anyway; reading the total once more
    costs no further wait for the device.

    Args:
        max_loss: A total loss above this counts as exploding; None for no limit.
        interval: Look at every interval-th iteration only.
    """

    priority = "HIGH"  # before anything logs, averages or saves what the bad step made

    def __init__(self, max_loss: float | None = 1e4, interval: int = 1) -> None:
        """Keep the limits.

        Raises:
            ValueError: If interval is not positive.
        """
        if interval < 1:
            raise ValueError(f"FiniteLossHook needs interval >= 1, not {interval}.")
        self.max_loss = math.inf if max_loss is None else max_loss
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Remove the report of an earlier run in this folder."""
        if is_main_process():
            (Path(runner.work_dir) / _FILE_NAME).unlink(missing_ok=True)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Check the loss of the step just made.

        Raises:
            NonFiniteLossError: If it is not finite or above max_loss.
        """
        if not outputs or not self.every_n_train_iters(runner, self.interval):
            return
        total = _sum_losses(outputs)
        if math.isfinite(total) and total <= self.max_loss:
            return
        report = {
            "epoch": runner.epoch + 1,
            "iter": runner.iter + 1,
            "rank": get_rank(),
            "losses": {name: str(_to_number(value)) for name, value in outputs.items()},
            "images": _describe_images(data_batch),
        }
        path = Path(runner.work_dir) / _FILE_NAME
        if not path.exists():  # another process may have met it first, and spread it to this one
            write_atomically(path, json.dumps(report, indent=2))
        raise NonFiniteLossError(
            f"The loss is {total:g} at epoch {report['epoch']}, iteration {report['iter']}; the "
            f"names of the batch's images are in {path}. Look at these images and their labels, or "
            "set optim_wrapper.clip_grad, then --resume; or lower optim_wrapper.optimizer.lr and "
            "train from scratch, since --resume goes on at the checkpoint's rate."
        )


def _sum_losses(outputs: dict[str, Any]) -> float:
    """Return a step's total loss.

    Args:
        outputs: What the model's train_step gave, by name. A model with a train_step of its own
            may leave the total out; then it is the sum of all that MMEngine would add up, which
            is every value with "loss" in its name.
    """
    if "loss" in outputs:
        return _to_number(outputs["loss"])
    return sum(_to_number(value) for name, value in outputs.items() if "loss" in name)


def _to_number(value: Any) -> float:
    """Read one number, off the graph: torch warns where a loss becomes a number on it."""
    return float(value.detach() if isinstance(value, Tensor) else value)


def _describe_images(data_batch: Any) -> list[dict[str, Any]]:
    """Return the ids, names and paths of a batch's images, and how many cells each has.

    Args:
        data_batch: What the dataloader gave; only a dict with data_samples can name its images.

    Returns:
        One dict per image; empty if the batch does not name them.
    """
    samples = data_batch.get("data_samples", []) if isinstance(data_batch, dict) else []
    images = []
    for sample in samples:
        image = {key: sample.get(key) for key in _IMAGE_KEYS if key in sample}
        if "gt_instances" in sample:
            image["num_cells"] = len(sample.gt_instances)
        images.append(image)
    return images
