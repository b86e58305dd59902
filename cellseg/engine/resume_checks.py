"""Refuse training state that a run cannot go on from, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from cellseg.engine.checkpoint_loading import CheckpointError
from cellseg.errors import CellsegError

_MOST_STEPS = 2**40
_PLAIN = (str, int, float, bool, type(None))


def guard_loading(runner: Runner) -> None:
    """Let a Runner say in a sentence what it cannot load or resume from, whatever is in the file.

    Args:
        runner: The run; its `load_or_resume` is replaced.
    """
    load_or_resume = runner.load_or_resume

    def load_guarded() -> None:
        try:
            load_or_resume()
        except (CellsegError, OSError):
            raise
        except Exception as error:  # optimizers and schedulers trust what they are given
            detail = (str(error).strip() or type(error).__name__).split("\n")[0]
            raise CheckpointError(
                f"Training cannot go on from {runner._load_from}: its state is damaged, or that of "
                f"another run ({detail}); take another checkpoint, or start a new run from its "
                "weights with --cfg-options load_from=FILE and another --work-dir."
            ) from error

    runner.load_or_resume = load_guarded


def check_training_state(checkpoint: Mapping[str, Any], path: str | None) -> None:
    """Check what a resumed run takes over besides weights.

    Args:
        checkpoint: From `load_checkpoint_file`.
        path: The file, for the message.

    Raises:
        CheckpointError: If steps are not counts, or what was logged is not a list of numbers.
    """
    meta, hub = checkpoint.get("meta", {}), checkpoint.get("message_hub", {})
    problem = None
    for key in ("epoch", "iter"):
        steps = meta.get(key, 0)
        if isinstance(steps, bool) or not isinstance(steps, int) or not 0 <= steps < _MOST_STEPS:
            problem = f"its {key} is {steps!r:.60}"
    for part in ("log_scalars", "runtime_info", "resumed_keys"):
        content = hub.get(part, {})
        if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
            problem = f"its {part} must be a dict by name"
        elif part == "log_scalars" and not all(map(_is_history, content.values())):
            problem = "its log_scalars are not lists of numbers"
        elif part == "resumed_keys" and not all(isinstance(v, bool) for v in content.values()):
            problem = "its resumed_keys must be true or false"
    for part in ("optimizer", "param_schedulers"):
        if not isinstance(checkpoint.get(part, {}), Mapping | list):
            problem = f"its {part} is a {type(checkpoint[part]).__name__}"
    if problem is not None:
        raise CheckpointError(
            f"Training cannot go on from {path}: {problem}, so the file is damaged; take another "
            "checkpoint."
        )


def _is_history(value: Any) -> bool:
    """Return whether a value is what MMEngine keeps of a logged number."""
    if not isinstance(value, HistoryBuffer):
        return isinstance(value, _PLAIN) and not (isinstance(value, float) and math.isnan(value))
    return value._log_history.dtype.kind in "fiub" and value._log_history.ndim == 1
