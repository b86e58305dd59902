"""Start a training from a model: `start_from = "nuclei-he"` at the top of a config."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from cellseg.engine.checkpoint_loading import load_checkpoint_file
from cellseg.engine.model_record import ModelRecord, RecordError, find_record, read_record
from cellseg.errors import CellsegError
from cellseg.model_files import find_model, read_model_facts

KEY = "start_from"
_CHECKPOINT_KINDS = {".pth", ".pt", ".ckpt"}


@dataclass(frozen=True)
class StartModel:
    """A model that a training starts from.

    Attributes:
        path: The model folder or checkpoint, which `load_from` takes.
        record: What is known of it, with its network.
    """

    path: Path
    record: ModelRecord


def find_start_model(name: str | Path) -> StartModel:
    """Find a model that a training can start from, without loading a model folder's weights.

    Args:
        name: The name or folder of a model, or a checkpoint that holds its record.

    Returns:
        The model.

    Raises:
        CellsegError: If there is no such model, or it does not hold its network's settings.
    """
    path = Path(name).expanduser()
    if path.suffix in _CHECKPOINT_KINDS:
        record = find_record(load_checkpoint_file(path), path)
    else:
        path = find_model(name)
        try:
            record = read_record(read_model_facts(path).record)
        except RecordError as error:
            raise CellsegError(f"The model {path} cannot be used: {error}.") from error
    if record is None or not record.network:
        raise CellsegError(
            f"The model {name} does not hold its network's settings; train with its config, and "
            f"--cfg-options load_from={name}."
        )
    return StartModel(path, record)


def set_start_model(config: Config) -> None:
    """Give a config the network of the model in `start_from`, and its weights to start from.

    A config without `start_from`, or with a model of its own, stays as it is.

    Args:
        config: The config, which is changed.

    Raises:
        CellsegError: If the model cannot be found or trained further.
    """
    name = config.get(KEY)
    if name is None or config.get("model") is not None:
        return
    start = find_start_model(name)
    config.model = ConfigDict(copy_network(start.record.network))
    config.load_from = str(start.path)


def copy_network(network: Mapping[str, Any], num_classes: int | None = None) -> dict[str, Any]:
    """Copy a network's settings, if wanted for another number of classes.

    Args:
        network: The settings.
        num_classes: The number; None leaves it.

    Raises:
        CellsegError: If the network has no RoI head, whose classes could be changed.
    """
    copied = copy.deepcopy(dict(network))
    roi_head = copied.get("roi_head")
    if not isinstance(roi_head, dict):
        raise CellsegError(
            "Only models with a RoI head, such as Mask R-CNN, can be trained further."
        )
    for name in ("bbox_head", "mask_head") if num_classes is not None else ():
        heads = roi_head.get(name) or []
        for head in heads if isinstance(heads, list) else [heads]:
            head["num_classes"] = num_classes
    return copied
