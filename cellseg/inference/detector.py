"""Build a detector from a config and its checkpoint, ready to find cells."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.utils.fuse_conv_bn import fuse_conv_bn
from mmdet.registry import MODELS
from mmengine.config import Config

from cellseg.engine.checkpoint_loading import load_checkpoint_file
from cellseg.engine.class_counts import list_class_names
from cellseg.engine.weight_fit import require_fit, warn_of_other_names
from cellseg.errors import CellsegError


class DetectionLimits:
    """Which proposals and cells a detector keeps: how many, and from which score on.

    The config's numbers are meant for the input size of its test pipeline. On a larger image they
    would starve the detector; on a smaller tile they would let through proposals that it never has
    to predict otherwise, so that tiles and whole images would differ.

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
        # A model that merges several views or models needs their low scores, and has no RoI head.
        settings = getattr(getattr(model, "roi_head", None), "test_cfg", None)
        self._scored = settings if isinstance(settings, dict) and "score_thr" in settings else {}
        self._config_score_thr = float(self._scored.get("score_thr", 0.0))

    def scale(self, factor: float, most: float = math.inf) -> None:
        """Set every limit to the config's times factor; limits that keep all (below 1) stay.

        Args:
            factor: How many times larger the input is than the one that the config's are meant for.
            most: What none exceeds, unless the config's own does.
        """
        for holder, name, value in self._limits:
            if value > 0:
                holder[name] = max(math.ceil(min(value * factor, max(most, value))), 1)

    @property
    def most_cells(self) -> int | None:
        """The most cells that one image or tile can give now; None where there is no such limit."""
        limit = self._scored.get("max_per_img")
        return int(limit) if limit is not None and limit > 0 else None

    def drop_below(self, score_thr: float) -> None:
        """Drop detections below a score before their masks are computed.

        Those that stay are the same as without: non-maximum suppression goes from the highest
        score down, so that what is dropped suppresses only what is dropped as well.

        Args:
            score_thr: Detections of this score stay; never under the config's own threshold.
        """
        if self._scored:
            # mmdet keeps what is above its threshold, and compares in float32
            below = float(np.nextafter(np.float32(score_thr), np.float32(-1)))
            self._scored["score_thr"] = max(self._config_score_thr, below)


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
    """Build a detector and load its weights, without fetching anything it was initialized from.

    Args:
        cfg: The config.
        checkpoint: Where the weights are; None leaves them as they are initialized.
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


def check_fit(cfg: Config, loaded: Mapping[str, Any], checkpoint: str | Path) -> None:
    """Compare weights with a detector that takes no memory: its settings may ask for any size.

    Args:
        cfg: The config.
        loaded: What `load_checkpoint_file` returned.
        checkpoint: Where the weights are, for the message.

    Raises:
        CellsegError: If they do not fit.
    """
    model_cfg = copy.deepcopy(cfg.model)
    _forget_init(model_cfg)
    with torch.device("meta"):
        model = MODELS.build(model_cfg)
    require_fit(model, loaded.get("state_dict", loaded), checkpoint, cfg.filename)


@torch.no_grad()
def fold_batch_norms(model: torch.nn.Module) -> torch.nn.Module:
    """Fold batch norms into the convolutions before them, where this leaves the features alike.

    mmcv folds by the order in which layers are registered, which need not be the order in which
    they run; so the features of a small random image are compared, and the model is returned as it
    was where they differ, or where it cannot be asked for features.

    Args:
        model: A detector; it is put into evaluation mode.

    Returns:
        A copy with fewer layers whose features are equal up to rounding (1e-4), or the model.
    """
    model.eval()
    if not hasattr(model, "extract_feat") or any(
        isinstance(part, ConvModule) and part.order[0] != "conv" for part in model.modules()
    ):
        return model
    folded = fuse_conv_bn(copy.deepcopy(model))
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 4 - 2
    before, after = model.extract_feat(image), folded.extract_feat(image)
    is_alike = all(map(_are_alike, before, after))
    return folded if is_alike else model


def _are_alike(features: torch.Tensor, others: torch.Tensor) -> bool:
    """Return whether features differ by rounding only, relative to the largest of them."""
    return bool((features - others).abs().max() <= 1e-4 * features.abs().max().clamp(min=1e-6))


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
