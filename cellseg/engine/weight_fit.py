"""Check that a checkpoint's weights are those of the model, in training, testing and predicting."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from cellseg.engine.checkpoint_loading import CheckpointError
from cellseg.engine.resume_checks import check_training_state
from cellseg.engine.resume_notes import describe_changes

# A box classifier counts the background as one class more than there are; a mask head does not.
_CLASS_ROWS = {"fc_cls.weight": 1, "conv_logits.weight": 0}


@dataclass(frozen=True)
class WeightFit:
    """How a checkpoint's weights compare with those that a model expects.

    Attributes:
        num_expected: How many weights the model has.
        misfits: Those that the checkpoint lacks, or holds in another shape, by name.
        classes: How many classes the checkpoint's heads and the model's know, where that differs.
    """

    num_expected: int
    misfits: tuple[str, ...]
    classes: tuple[int, int] | None = None

    def describe(self) -> str:
        """Say how many weights do not fit, and that the classes differ where they do."""
        if not self.misfits:
            return "all weights fit"
        text = (
            f"{len(self.misfits)} of {self.num_expected} weights are missing or of another shape, "
            f"such as {self.misfits[0]}"
        )
        if self.classes is not None:
            text += (
                f"; the checkpoint knows {self.classes[0]} classes, the config {self.classes[1]}"
            )
        return text


def compare_weights(model: nn.Module, weights: Mapping[str, Any]) -> WeightFit:
    """Compare a checkpoint's weights with a model's.

    Args:
        model: The model; a wrapper of several processes, or of test-time augmentation, is removed.
        weights: Tensors by name.

    Returns:
        What fits and what does not.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    found = {name.removeprefix("module."): _shape_of(value) for name, value in weights.items()}
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    misfits = tuple(name for name, shape in expected.items() if found.get(name) != shape)
    return WeightFit(len(expected), misfits, _compare_classes(found, expected, misfits))


def require_fit(
    model: nn.Module, weights: Mapping[str, Any], checkpoint: str | Path, config: str | None
) -> None:
    """Raise CheckpointError unless a checkpoint holds every weight of a model in its shape."""
    fit = compare_weights(model, weights)
    if fit.misfits:
        raise CheckpointError(
            f"The checkpoint {checkpoint} does not fit the config {config}: {fit.describe()}; give "
            "the config it was trained with."
        )


def warn_of_other_names(
    checkpoint: Mapping[str, Any], names: Iterable[str] | None, path: str | Path
) -> None:
    """Warn where a checkpoint was trained for classes of other names, or in another order."""
    meta = checkpoint.get("meta")
    facts = meta.get("dataset_meta") if isinstance(meta, dict) else None
    trained = facts.get("classes") if isinstance(facts, dict) else None
    if trained is None or names is None or isinstance(trained, str):
        return
    trained, wanted = list(map(str, trained)), list(map(str, names))
    if len(trained) == len(wanted) and trained != wanted:
        _warn(
            f"The checkpoint {path} was trained for the classes {', '.join(trained)}, but the "
            f"config names {', '.join(wanted)}; cells get the config's names by position, so give "
            "metainfo.classes in the order of the training."
        )


@HOOKS.register_module()
class WeightFitHook(Hook):
    """Check every checkpoint that a Runner loads, before any of its weights is taken.

    A checkpoint to test, or to resume from, must hold every weight of the model. One that training
    starts from (`load_from`) may hold other heads: how many weights were taken is logged, and one
    without any is refused.

    Args:
        must_fit: Whether all weights must fit though training is not resumed: in testing.
    """

    priority = "HIGHEST"  # before EMAHook, which takes its own copy

    def __init__(self, must_fit: bool = False) -> None:
        """Keep the option."""
        self.must_fit = must_fit

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check one checkpoint.

        Raises:
            CheckpointError: If it does not fit.
        """
        weights = checkpoint.get("state_dict", checkpoint)
        path, config = runner._load_from, runner.cfg.filename
        if runner._resume and not self.must_fit:
            check_training_state(checkpoint, path)
        if self.must_fit or runner._resume:
            require_fit(runner.model, weights, path, config)
        else:
            self._report_taken(compare_weights(runner.model, weights), path, config)
        if self.must_fit:
            dataset = getattr(runner.test_dataloader, "dataset", None)
            metainfo = getattr(dataset, "metainfo", None) or {}
            warn_of_other_names(checkpoint, metainfo.get("classes"), path)
        elif runner._resume:
            has_ema = any(isinstance(hook, EMAHook) for hook in runner.hooks)
            for note in describe_changes(runner, checkpoint, has_ema):
                _warn(note)

    def _report_taken(self, fit: WeightFit, path: str | None, config: str | None) -> None:
        """Log how many weights training starts from; raise CheckpointError if there are none."""
        taken = fit.num_expected - len(fit.misfits)
        if not taken:
            raise CheckpointError(
                f"The checkpoint {path} of load_from does not fit the config {config}: none of "
                f"{fit.num_expected} weights has its name and shape there; give a checkpoint of "
                "the same model, or load_from=None to start without."
            )
        rest = f" The others start as initialized: {fit.describe()}." if fit.misfits else ""
        print_log(
            f"Training starts from {path}: {taken} of {fit.num_expected} weights taken.{rest}",
            "current",
        )


def _shape_of(value: Any) -> tuple[int, ...] | None:
    """Return a tensor's shape, None of anything else."""
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _compare_classes(
    found: Mapping[str, tuple[int, ...] | None],
    expected: Mapping[str, tuple[int, ...]],
    misfits: Iterable[str],
) -> tuple[int, int] | None:
    """Read off the heads how many classes a checkpoint and a model know, where that differs."""
    for name in misfits:
        for ending, background in _CLASS_ROWS.items():
            ours, theirs = expected[name], found.get(name)
            if name.endswith(ending) and theirs and theirs[1:] == ours[1:]:
                return theirs[0] - background, ours[0] - background
    return None


def _warn(message: str) -> None:
    """Log a warning."""
    print_log(message, "current", logging.WARNING)
