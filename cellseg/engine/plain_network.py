"""Make a config of the plain settings in a model's record, after checking that they only describe.

A `type` in MMDetection's settings is looked up in a registry and, failing that, imported by its
dotted name; that of an NMS is even evaluated. A model folder may come from anywhere, so each name
must be that of a network's part, registered by MMDetection or this project, and no setting may name
a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmdet.registry import MODELS, TASK_UTILS
from mmengine.config import Config
from mmengine.registry import Registry

from cellseg.engine.model_record import ModelRecord, RecordError

_ALLOWED_MODULES = (
    "cellseg.models.",
    "mmcv.cnn.bricks.",
    "mmcv.ops.",
    "mmdet.models.backbones.",
    "mmdet.models.data_preprocessors.",
    "mmdet.models.dense_heads.",
    "mmdet.models.detectors.",
    "mmdet.models.layers.",
    "mmdet.models.losses.",
    "mmdet.models.necks.",
    "mmdet.models.roi_heads.",
    "mmdet.models.task_modules.",
    "torch.nn.",
)
# Names that are no registered parts: of NMS, of RoI layers and of ways to enlarge a mask.
_OTHER_NAMES = {
    *("nms", "soft_nms", "RoIAlign", "RoIPool"),
    *("deconv", "nearest", "bilinear", "pixel_shuffle", "carafe"),
}
_ALLOWED_STEPS = {"LoadCellImage", "Resize", "LimitedResize", "Pad", "PackDetInputs"}
_REFUSED_KEYS = {"init_cfg", "pretrained", "custom_imports", "_delete_", "_scope_", "_base_"}
_PLAIN_TEXT = re.compile(r"[\w. +-]{0,64}")
_FILE_NAME = re.compile(r".*\.(pkl|pickle|pth|pt|json|ya?ml|py|bin|npy|npz)$")
_DEEPEST = 20
_LARGEST, _SHOWN = 10**6, 10**18
# What an image's memory depends on, and not the weights, which are compared before it is taken:
# where a number may lie, by the name of its setting.
_SIDES, _FACTORS, _STEPS, _PARTS = (1, 4096), (1 / 64, 8), (0, 256), (0, 512)
_RANGES = {
    **dict.fromkeys(("pad_size_divisor", "size_divisor"), (1, 1024)),
    **dict.fromkeys(("scale", "size"), _SIDES),
    **dict.fromkeys(("scale_factor", "factor_range", "ratio_range"), _FACTORS),
    **dict.fromkeys(("strides", "featmap_strides"), (1, 256)),
    **dict.fromkeys(("stride", "padding", "dilation", "dilations", "kernel_size"), _STEPS),
    **dict.fromkeys(("output_size", "roi_feat_size"), (1, 64)),
    "sampling_ratio": (0, 16),
    **dict.fromkeys(("nms_pre", "max_per_img"), (1, 20_000)),
}
_IS_PARTS = re.compile(r"(num|stacked)_.*(convs|fcs|layers|stages|blocks|heads|outs)|depths?")


def make_config(record: ModelRecord, name: str) -> Config:
    """Make the config that predicts with a model.

    Args:
        record: The model's record, with its network and pipeline.
        name: Where it comes from, for messages.

    Returns:
        A config with `model` and a `test_dataloader`.

    Raises:
        RecordError: If the record has no network, or holds settings that are more than that.
    """
    if not record.network or not record.pipeline:
        raise RecordError("its record does not hold the network's settings")
    _check_settings(record.network, ())
    _check_proposals(record.network)
    for step in record.pipeline:
        if step.get("type") not in _ALLOWED_STEPS:
            kind = str(step.get("type"))[:80]
            raise RecordError(f"its pipeline has the step {kind!r}, which is not allowed")
        _check_settings({key: value for key, value in step.items() if key != "type"}, ())
    metainfo: dict[str, Any] = {"classes": record.classes}
    if record.palette:
        metainfo["palette"] = [list(color) for color in record.palette]
    dataset = {
        "type": "CellDataset",
        "data_root": "",
        "metainfo": metainfo,
        "channel_order": record.channel_order or "rgb",
        "pipeline": [dict(step) for step in record.pipeline],
        "test_mode": True,
    }
    if record.intensity_range is not None:
        dataset["intensity_range"] = record.intensity_range
    settings = {
        "default_scope": "mmdet",
        "model": record.network,
        "test_dataloader": {"batch_size": 1, "num_workers": 0, "dataset": dataset},
    }
    config = Config(settings)
    object.__setattr__(config, "_filename", name)  # given to Config itself, the file would be read
    return config


def _check_settings(value: Any, place: tuple[str, ...]) -> None:
    """Raise RecordError for a setting that could do more than describe a network."""
    where = ".".join(place) or "model"
    if len(place) > _DEEPEST:
        raise RecordError(f"its settings are nested too deeply at {where}")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in _REFUSED_KEYS and item is not None:
                raise RecordError(f"its settings hold {where}.{key}, which is not allowed")
            if key == "type":
                _check_type(item, where)
            else:
                _check_settings(item, (*place, str(key)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_settings(item, (*place, str(index)))
    elif isinstance(value, str):
        if not _PLAIN_TEXT.fullmatch(value) or _FILE_NAME.fullmatch(value.lower()):
            raise RecordError(f"its setting {where} is {value[:80]!r}, which is not allowed")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(value, place)


def _check_number(value: float, place: tuple[str, ...]) -> None:
    """Raise RecordError for a number that would take absurd memory, or is none."""
    name = next((part for part in reversed(place) if not part.isdigit()), "")
    default = _PARTS if _IS_PARTS.fullmatch(name) else (-_LARGEST, _LARGEST)
    low, high = _RANGES.get(name, default)
    if not low <= value <= high:
        what = "too small" if value < low else "too large"
        shown = f" ({value})" if abs(value) < _SHOWN else ""  # endless digits cannot be shown
        raise RecordError(f"its setting {'.'.join(place) or 'model'} is {what}{shown}")


def _check_proposals(network: Mapping[str, Any]) -> None:
    """Raise RecordError where nothing bounds the number of an image's proposals."""
    test_cfg = network.get("test_cfg")
    rpn = test_cfg.get("rpn") if isinstance(test_cfg, Mapping) else None
    if isinstance(rpn, Mapping):
        for name in ("nms_pre", "max_per_img"):
            if not isinstance(rpn.get(name), int):
                raise RecordError(f"its settings lack test_cfg.rpn.{name}")


def _check_type(name: Any, where: str) -> None:
    """Raise RecordError unless a name is that of a network's part."""
    if isinstance(name, str) and (name in _OTHER_NAMES or _is_part(name)):
        return
    raise RecordError(f"its settings ask for {str(name)[:80]!r} at {where}, which is not allowed")


def _is_part(name: str) -> bool:
    """Return whether a name is registered, by a module that holds nothing but parts of networks."""
    for start in (MODELS, TASK_UTILS):
        registry: Registry | None = start
        start.import_from_location()
        while registry is not None:
            part = registry.module_dict.get(name)
            if part is not None:
                return str(getattr(part, "__module__", "")).startswith(_ALLOWED_MODULES)
            registry = registry.parent
    return False
