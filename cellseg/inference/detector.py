"""Build a detector from a config and its checkpoint, ready to find cells."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from cellseg.engine.checkpoint_loading import load_checkpoint_file
from cellseg.engine.class_counts import list_class_names
from cellseg.engine.weight_fit import require_fit, warn_of_other_names
from cellseg.errors import CellsegError


class DetectionLimits:
    """How many proposals and cells a detector keeps, in proportion to the area it looks at.

    The config's limits are meant for the input size of its test pipeline. On a larger image they
    would starve the detector; on a smaller tile they would let through proposals that it never has
    to judge otherwise, so that tiles and whole images would differ.

    Args:
        model: The detector; models without such limits are left alone.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        """Note the limits of every part of the model."""
        self._limits: list[tuple[Any, str, int]] = []
        for part in model.modules():
            test_cfg = getattr(part, "test_cfg", None)
            for name in ("nms_pre", "max_per_img"):
                if isinstance(test_cfg, dict) and isinstance(test_cfg.get(name), int):
                    self._limits.append((test_cfg, name, test_cfg[name]))
            if isinstance(getattr(part, "max_per_img", None), int):
                self._limits.append((vars(part), "max_per_img", part.max_per_img))

    def scale(self, factor: float) -> None:
        """Set every limit to the config's times factor; limits that keep all (below 1) stay."""
        for holder, name, value in self._limits:
            holder[name] = max(math.ceil(value * factor), 1) if value > 0 else value


def find_device(name: str | None) -> torch.device:
    """Find the device of a name, a GPU where there is one when None; it must work."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise CellsegError(
            f"The device {name} cannot be used ({reason}); give cpu, cuda or cuda:1, or leave it "
            "out."
        ) from error
    return device


def build_detector(
    cfg: Config, checkpoint: str | Path | None, loaded: dict[str, Any] | None = None
) -> torch.nn.Module:
    """Build a detector and load its weights, without fetching anything it was initialised from.

    Args:
        cfg: The config.
        checkpoint: Where the weights are; None leaves them as they are initialised.
        loaded: What `load_checkpoint_file` returned of it, where that was called already.

    Returns:
        The detector.

    Raises:
        CellsegError: If the checkpoint cannot be read, or does not fit the config.
    """
    model_cfg = copy.deepcopy(cfg.model)
    _forget_init(model_cfg)
    model = MODELS.build(model_cfg)
    if checkpoint is None:
        model.init_weights()
        return model
    loaded = load_checkpoint_file(checkpoint) if loaded is None else loaded
    weights = loaded.get("state_dict", loaded)
    require_fit(model, weights, checkpoint, cfg.filename)
    warn_of_other_names(loaded, list_class_names(cfg).get("test"), checkpoint)
    weights = {name.removeprefix("module."): value for name, value in weights.items()}
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    return model


def _forget_init(part: Any) -> None:
    """Remove pretrained weights to fetch from a model's config, at every depth."""
    if isinstance(part, dict):
        init = part.get("init_cfg")
        if isinstance(init, dict) and init.get("type") == "Pretrained":
            part["init_cfg"] = None
        for value in part.values():
            _forget_init(value)
    elif isinstance(part, (list, tuple)):
        for value in part:
            _forget_init(value)
