"""Say what a resumed training takes from its checkpoint although the config says otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.runner import IterBasedTrainLoop, Runner

# How far a schedule has come, in place of what it was asked to do.
_PROGRESS = {
    "base_values",
    "best",
    "cooldown_counter",
    "last_step",
    "min_values",
    "num_bad_epochs",
    "rule_worse",
    "verbose",
}
# The scheduler sets it at every step; initial_lr is what was asked for.
_SCHEDULED = {"params", "lr", "momentum"}


def describe_changes(runner: Runner, checkpoint: Mapping[str, Any], has_ema: bool) -> list[str]:
    """List what differs between a run and the checkpoint that it resumes from.

    Args:
        runner: The run, its optimizer and schedule built and the checkpoint not loaded yet.
        checkpoint: From `load_checkpoint_file`.
        has_ema: Whether the run averages its weights.

    Returns:
        One sentence for each thing that does not go as the config says; empty if all does.
    """
    notes = []
    unit = "iter" if isinstance(runner.train_loop, IterBasedTrainLoop) else "epoch"
    limit = getattr(runner, f"max_{unit}s")
    epochs = _describe_length(checkpoint, unit, limit)
    if _has_other_schedule(runner, checkpoint):
        notes.append(
            f"--resume goes on with the old schedule of the learning rate, out of the checkpoint"
            f"{epochs}: the config's new schedule, or rate, is not taken. To train with the new "
            "one, start a new run without --resume from these weights: "
            f"--cfg-options load_from={runner._load_from} and another --work-dir."
        )
    elif epochs:
        notes.append(f"--resume goes on to another end{epochs}.")
    done = checkpoint.get("meta", {}).get(unit)
    if isinstance(done, int) and done >= limit:
        notes.append(
            f"{runner._load_from} is of {unit} {done} and train_cfg.max_{unit}s is {limit}, so "
            f"that nothing is left to train; raise train_cfg.max_{unit}s to train on."
        )
    if has_ema and "ema_state_dict" not in checkpoint:
        notes.append(
            f"{runner._load_from} holds no averaged weights, since it was trained without the "
            "EMAHook of this config; the average starts from scratch from the checkpoint's weights."
        )
    if not has_ema and "ema_state_dict" in checkpoint:
        notes.append(
            f"{runner._load_from} was trained with an EMAHook, which this config lacks: training "
            "goes on from the averaged weights; put the EMAHook back into custom_hooks to go on "
            "as before."
        )
    return notes


def _describe_length(checkpoint: Mapping[str, Any], unit: str, limit: int) -> str:
    """Write how many epochs, or iterations, were and are asked for, where that differs."""
    before = checkpoint.get("message_hub", {}).get("runtime_info", {}).get(f"max_{unit}s")
    if not isinstance(before, int) or before == limit:
        return ""
    return f" (train_cfg.max_{unit}s was {before} when it was saved and is {limit} now)"


def _has_other_schedule(runner: Runner, checkpoint: Mapping[str, Any]) -> bool:
    """Return whether schedule or optimizer were asked to do something else when it was saved."""
    schedulers = runner.param_schedulers
    ours, theirs = list(_list_states(schedulers)), checkpoint.get("param_schedulers")
    if ours or theirs:
        before = [state for state in theirs or [] if isinstance(state, Mapping)]
        if isinstance(theirs, Sequence) and list(map(_settings, before)) != list(
            map(_settings, ours)
        ):
            return True
    optimizer = checkpoint.get("optimizer")
    groups = optimizer.get("param_groups") if isinstance(optimizer, Mapping) else None
    if not isinstance(groups, list):
        return False
    now = runner.optim_wrapper.state_dict().get("param_groups") or []
    return any(
        key in new and new[key] != value
        for old, new in zip(groups, now, strict=False)
        for key, value in old.items()
        if key not in _SCHEDULED or (key == "lr" and "initial_lr" not in old)
    )


def _list_states(schedulers: Any) -> list[dict[str, Any]]:
    """List the states of a run's built schedulers; none for those of several optimizers."""
    return [item.state_dict() for item in schedulers] if isinstance(schedulers, list) else []


def _settings(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a scheduler was asked to do, without how far it has come."""
    return {
        key: value
        for key, value in state.items()
        if key not in _PROGRESS and not key.startswith("_")
    }
