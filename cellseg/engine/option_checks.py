"""Check --cfg-options against the config that they are meant for, before they are merged."""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from cellseg.errors import CellsegError

# What MMEngine and this project read from a config besides the arguments of the Runner.
_MORE_KEYS = {
    "activation_checkpointing",
    "cell_classes",
    "compile",
    "custom_imports",
    "efficient_conv_bn_eval",
    "find_unused_parameters",
    "model_wrapper_cfg",
    "sync_bn",
    "tta_model",
    "work_dir",
}
# What MMEngine reads from parts of a config that name no class, or besides its arguments.
_KEYS_OF_PARTS = {
    "auto_scale_lr": {"base_batch_size", "enable"},
    "env_cfg": {"cudnn_benchmark", "dist_cfg", "mp_cfg", "resource_limit"},
    "env_cfg.mp_cfg": {"mp_start_method", "opencv_num_threads"},
    "env_cfg.dist_cfg": {"backend", "init_backend", "timeout"},
    "optim_wrapper": {"constructor", "optimizer", "paramwise_cfg"},
}
_LOADER_KEYS = {"batch_sampler", "dataset", "num_batch_per_epoch", "sampler"}
_FREE_PARTS = {"default_hooks", "metainfo"}  # every name is read there
_NO_VALUE = object()


def check_options(config: Config, options: Mapping[str, Any]) -> None:
    """Refuse options that fit nothing in a config; warn of new names and of other kinds of value.

    Args:
        config: The config, without the options.
        options: Settings by dotted name.

    Raises:
        CellsegError: If an option's first name is neither in the config nor known to the Runner.
    """
    known = set(config) | _MORE_KEYS | _arguments_of(Runner)
    for key, value in options.items():
        if key.partition(".")[0] not in known:
            raise CellsegError(_describe_unknown(config, key, value, known))
        if (note := _find_note(config, key, value)) is not None:
            _warn_once(note)


@lru_cache(maxsize=1024)
def _warn_once(note: str) -> None:
    """Log a warning, once in a process: a tool may read its config several times."""
    print_log(note, "current", logging.WARNING)


def _describe_unknown(config: Config, key: str, value: Any, known: set[str]) -> str:
    """Write that a setting is not known, and which are near."""
    paths = list(_list_paths(config))
    leaf = key.rpartition(".")[2]
    near = [path for path in paths if path.rpartition(".")[2] == leaf][:3]
    if not near:
        names = {path.rpartition(".")[2] for path in paths}
        likely = difflib.get_close_matches(leaf, names, n=1, cutoff=0.6)
        near = [path for path in paths if path.rpartition(".")[2] in likely][:3]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.75) + near
    advice = f"did you mean {' or '.join(near)}?" if near else "look into the config for its names."
    return f"--cfg-options {key}={value} fits nothing in {config.filename}; {advice}"


def _find_note(config: Config, key: str, value: Any) -> str | None:
    """Return what is doubtful on an option whose first name is known, or None."""
    parent: Any = config
    names = key.split(".")
    for depth, name in enumerate(names):
        child = _child(parent, name)
        if child is _NO_VALUE:
            is_read = depth == 0 or names[depth - 1] in _FREE_PARTS
            if is_read or not isinstance(parent, dict):
                return None
            allowed = _allowed_names(parent, ".".join(names[:depth]))
            return None if name in allowed else _describe_new(config, parent, names, depth, allowed)
        parent = child
    if _are_alike(parent, value):
        return None
    return (
        f"--cfg-options {key}={value!r} puts a value of the type {type(value).__name__} where "
        f"{config.filename} has {_shorten(parent)}; check that this is meant."
    )


def _describe_new(
    config: Config, parent: Mapping[str, Any], names: list[str], depth: int, allowed: set[str]
) -> str:
    """Write that a name is new where it stands, and which are near."""
    near = difflib.get_close_matches(names[depth], allowed | set(parent), n=3, cutoff=0.6)
    place = ".".join(names[:depth])
    advice = f" Did you mean {' or '.join(f'{place}.{name}' for name in near)}?" if near else ""
    return (
        f"--cfg-options {'.'.join(names)} is a new setting: {place} of {config.filename} has no "
        f"{names[depth]}, and may never read it.{advice}"
    )


def _child(parent: Any, name: str) -> Any:
    """Return a part of a config, _NO_VALUE where there is none."""
    if isinstance(parent, dict | Config):
        return parent.get(name, _NO_VALUE)
    if isinstance(parent, list | tuple) and name.isdigit() and int(name) < len(parent):
        return parent[int(name)]
    return _NO_VALUE


def _allowed_names(parent: Mapping[str, Any], path: str) -> set[str]:
    """Collect the names that a part of a config may hold, as far as its class says."""
    if path.endswith("_dataloader"):
        return _arguments_of(DataLoader) | _LOADER_KEYS
    if path == "randomness":
        return _arguments_of(Runner.set_randomness)
    names = _KEYS_OF_PARTS.get(path, set()) | {"_delete_", "_scope_", "type"}
    kind = parent.get("type")
    if "hooks." in path:
        names = names | {"priority"}
    return names if kind is None else names | _arguments_of(_find_class(kind))


def _find_class(kind: Any) -> Any:
    """Find what a type names, in whichever of MMDetection's registries; None if in none."""
    if not isinstance(kind, str):
        return kind
    from mmdet import registry  # registers all parts, which takes a while

    for place in vars(registry).values():
        if isinstance(place, Registry) and (found := place.get(kind)) is not None:
            return found
    return None


def _arguments_of(part: Any) -> set[str]:
    """Collect the names that a function or class takes, those of its base classes included."""
    functions: list[Any] = [part]
    if inspect.isclass(part):
        functions = [vars(base).get("__init__") for base in part.__mro__]
    found: set[str] = set()
    for function in functions:
        if callable(function) and function is not object.__init__:
            found |= set(inspect.signature(function).parameters)
    return found - {"self", "cfg", "args", "kwargs"}


def _are_alike(before: Any, value: Any) -> bool:
    """Return whether a value is of the kind that stands in a config."""
    if before is None or value is None:
        return True
    if isinstance(before, bool) or isinstance(value, bool):
        return isinstance(before, bool) and isinstance(value, bool)
    if isinstance(before, float):
        return isinstance(value, int | float)
    if isinstance(before, str | list | tuple):  # several in place of one, and the reverse
        return isinstance(value, str | list | tuple)
    return isinstance(value, dict if isinstance(before, dict) else type(before))


def _shorten(value: Any) -> str:
    """Write a value, long ones in part."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _list_paths(part: Any, prefix: str = "") -> Iterator[str]:
    """List the dotted names of all settings of a config, those of lists left out."""
    if isinstance(part, dict | Config):
        for name, value in part.items():
            yield f"{prefix}{name}"
            yield from _list_paths(value, f"{prefix}{name}.")


def settle_workers(config: Config) -> None:
    """Let data loaders without worker processes (num_workers=0) load in the main process.

    torch refuses persistent workers, and batches fetched ahead, where there are none.
    """
    for split in ("train", "val", "test"):
        loader = config.get(f"{split}_dataloader")
        for part in loader if isinstance(loader, Sequence) else [loader]:
            if isinstance(part, dict) and part.get("num_workers") == 0:
                part["persistent_workers"] = False
                part.pop("prefetch_factor", None)
