"""Set the classes of a config once: `cell_classes = ("nucleus",)` at its top.

`cell_classes = "data"` takes the names from the dataset.json of the training data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from cellseg.datasets.folder_facts import FACTS_NAME, join_folder_facts
from cellseg.defaults import SPLITS
from cellseg.errors import CellsegError

KEY = "cell_classes"
FROM_DATA = "data"
"""What `cell_classes` is where the data folder names the classes."""

# What they count are other things: objects of any class, or those of a pretraining.
_OTHER_PARTS = {"rpn_head", "backbone", "semantic_head", "glbctx_head"}


def set_cell_classes(config: Config) -> None:
    """Give the class names of `cell_classes` to all data sets, and their number to all heads.

    A config without `cell_classes` stays as it is: it sets `metainfo.classes` of its data sets and
    `num_classes` of its heads itself.

    Args:
        config: The config, which is changed.

    Raises:
        CellsegError: If `cell_classes` is not a sequence of different names.
    """
    names = config.get(KEY)
    if names is None:
        return
    if names == FROM_DATA:
        names = _read_from_data(config)
    is_list = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    if not is_list or not names or len(set(names)) < len(names):
        raise CellsegError(
            f"{config.filename}: {KEY} is {names!r}, but must be a tuple of different names, such "
            f'as ("nucleus",), or "{FROM_DATA}" for those of the data.'
        )
    for split in SPLITS:
        for dataset in list_leaves((config.get(f"{split}_dataloader") or {}).get("dataset")):
            dataset.metainfo = {**(dataset.get("metainfo") or {}), "classes": tuple(names)}
    for head, _ in find_heads(config.get("model"), "model"):
        head.num_classes = len(names)


def _read_from_data(config: Config) -> tuple[str, ...]:
    """Read the class names in dataset.json of the training data.

    Raises:
        CellsegError: If there is no training data, or it names no classes.
    """
    leaves = list_leaves((config.get("train_dataloader") or {}).get("dataset"))
    names = read_own_classes(leaves[0]) if leaves else None
    if names is None:
        files = [str(Path(root) / FACTS_NAME) for leaf in leaves[:1] for root in _list_roots(leaf)]
        where = ", ".join(files) or "The training data"
        raise CellsegError(
            f'{where} names no classes, and {KEY} of {config.filename} is "{FROM_DATA}"; correct '
            'data_root, write {"version": 1, "classes": ["nucleus"]} into that file, or set '
            f"{KEY} to the names."
        )
    return names


def read_own_classes(dataset: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Read the class names that a data set's folders give; None where they give none."""
    return join_folder_facts(_list_roots(dataset), ["channel_order"]).classes


def _list_roots(dataset: Mapping[str, Any]) -> list[str | Path]:
    """List the folders of a data set's settings."""
    roots = dataset.get("data_root") or ()
    return [roots] if isinstance(roots, str | Path) else list(roots)


def find_heads(part: Any, name: str) -> Iterator[tuple[ConfigDict, str]]:
    """Find every head of a model that counts classes: its settings and its dotted name."""
    if isinstance(part, dict):
        if isinstance(part.get("num_classes"), int):
            yield part, name
        for key, value in part.items():
            if key not in _OTHER_PARTS:
                yield from find_heads(value, f"{name}.{key}")
    elif isinstance(part, list | tuple):
        for place, value in enumerate(part):
            yield from find_heads(value, f"{name}.{place}")


def list_leaves(dataset: ConfigDict | None) -> list[ConfigDict]:
    """List the data sets inside wrappers, each of a ConcatDataset."""
    if dataset is None:
        return []
    inner = [dataset["dataset"]] if "dataset" in dataset else dataset.get("datasets")
    return [dataset] if inner is None else [leaf for one in inner for leaf in list_leaves(one)]
