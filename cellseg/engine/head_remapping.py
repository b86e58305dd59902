"""Give a model's heads to other classes, so that they need not start from random weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

# How many rows a class has in each layer, and how many the background has after all classes.
_ROWS = {"fc_cls": (1, 1), "fc_reg": (4, 0), "conv_logits": (1, 0)}


def remap_heads(
    weights: Mapping[str, Any], source: Sequence[str], target: Sequence[str]
) -> tuple[dict[str, Any], int]:
    """Give the heads of some classes to others.

    A class that the model knows by name keeps its weights. Another one starts from the mean of all
    classes, which knows what a cell is and where its outline lies.

    Args:
        weights: Tensors by name.
        source: Classes that the weights are for.
        target: Classes wanted.

    Returns:
        The weights, and how many of them changed.
    """
    places = [
        [source.index(name)] if name in source else list(range(len(source))) for name in target
    ]
    changed = 0
    remapped = dict(weights)
    if list(source) == list(target):
        return remapped, 0
    for name, value in weights.items():
        rows, background = _ROWS.get(name.split(".")[-2] if "." in name else "", (0, 0))
        if not rows or not isinstance(value, torch.Tensor):
            continue
        if value.shape[0] == rows * len(source) + background:
            remapped[name] = _remap_rows(value, rows, len(source), places)
            changed += 1
    return remapped, changed


def _remap_rows(
    value: torch.Tensor, rows: int, num_source: int, places: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Take each class's rows from the mean of some others; the background's stay at the end."""
    per_class = value[: rows * num_source].reshape(num_source, rows, *value.shape[1:])
    taken = torch.cat([per_class[list(place)].float().mean(dim=0) for place in places])
    return torch.cat([taken.to(value.dtype), value[rows * num_source :]])


@HOOKS.register_module()
class RemapHeadsHook(Hook):
    """Remap the heads of the checkpoint that a training starts from, not of one it resumes.

    Args:
        source: Classes that the checkpoint is for.
        target: Classes of the training.
    """

    priority = "HIGHEST"  # before WeightFitHook, if it is registered before

    def __init__(self, source: Sequence[str], target: Sequence[str]) -> None:
        """Keep the names."""
        self.source, self.target = list(source), list(target)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Remap before the weights are taken."""
        if runner._resume:
            return
        weights = checkpoint.get("state_dict", checkpoint)
        remapped, changed = remap_heads(weights, self.source, self.target)
        weights.update(remapped)
        if changed:
            print_log(
                f"{changed} weights of the heads go from {', '.join(self.source)} to "
                f"{', '.join(self.target)}.",
                "current",
            )
