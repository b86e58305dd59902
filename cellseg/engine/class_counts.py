"""Check that a config's data sets and its model know equally many classes."""

from __future__ import annotations

from collections.abc import Sequence

from mmdet.registry import DATASETS
from mmengine.config import Config

from cellseg.defaults import SPLITS
from cellseg.engine.cell_classes import find_heads, read_own_classes
from cellseg.engine.configs import list_datasets
from cellseg.errors import CellsegError


def list_class_names(config: Config) -> dict[str, tuple[str, ...]]:
    """List the class names of a config's data sets by split.

    Returns:
        The names that the config gives, else those of the folder's dataset.json, else those that
        the data set has by itself; a split without a data set, or without names, is left out.
        "test" stands for "val" where there is no other.
    """
    found: dict[str, tuple[str, ...]] = {}
    for split, settings in list_datasets(config).items():
        names = (settings.get("metainfo") or {}).get("classes") or read_own_classes(settings)
        if names is None:
            kind = DATASETS.get(str(settings.get("type")))
            names = getattr(kind, "METAINFO", {}).get("classes")
        if isinstance(names, str):
            found[split] = (names,)
        elif names:
            found[split] = tuple(map(str, names))
    if "test" not in found and "val" in found:
        found["test"] = found["val"]
    return found


def check_class_counts(config: Config, splits: Sequence[str] = SPLITS) -> None:
    """Check that data sets and model know equally many classes, in the same order.

    Args:
        config: The config; its model may say nothing of classes.
        splits: Which data sets to compare.

    Raises:
        CellsegError: If one names more or fewer classes than a head of the model has, or others
            than the training does.
    """
    names = {split: own for split, own in list_class_names(config).items() if split in splits}
    heads = [(key, head.num_classes) for head, key in find_heads(config.get("model"), "model")]
    for split, own in names.items():
        for key, count in heads:
            if count != len(own):
                raise CellsegError(
                    f"The {split} data of {config.filename} have {len(own)} classes "
                    f"({', '.join(own)}), but {key}.num_classes is {count}; set cell_classes = "
                    f"({', '.join(repr(name) for name in own)},) in the config, for data and model."
                )
    for split, own in names.items():
        if own != names.get("train", own):
            raise CellsegError(
                f"The {split} data of {config.filename} name the classes {', '.join(own)}, but the "
                f"training data {', '.join(names['train'])}; set metainfo.classes of both alike."
            )
