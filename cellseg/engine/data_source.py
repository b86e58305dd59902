"""Open the data that a tool evaluates or describes: a config's, or just a folder's."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import DATASETS

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.datasets.folder_facts import read_folder_facts
from cellseg.engine.configs import dataset_config, find_cell_metric, list_datasets, read_config
from cellseg.errors import CellDataError, CellsegError, as_cellseg_error
from cellseg.file_listing import list_files
from cellseg.scoring.average_precision import DEFAULT_MAX_DETS

_WHOLE: dict[str, Any] = {"num_folds": 0, "pipeline": [], "test_mode": True, "min_area_px": 1}


def find_max_dets(source: str | Path, options: Mapping[str, Any] | None = None) -> int:
    """Find how many detections count for each image and class.

    Args:
        source: A config file, or a folder of images.
        options: Settings of the config to override.

    Returns:
        `max_dets` of the config's CellMetric, else its default.
    """
    if Path(source).is_dir():
        return DEFAULT_MAX_DETS
    metric = find_cell_metric(read_config(source, options)) or {}
    return int(metric.get("max_dets", DEFAULT_MAX_DETS))


def open_data(
    source: str | Path,
    split: str = "test",
    options: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    channel_order: str | None = "rgb",
) -> CellDataset:
    """Open the images and ground truth of a config or of a folder; no transform is applied.

    Args:
        source: A config file (.py), whose data set of the split is opened, or a folder of
            `<id>/image.tif` with class1.tif, class2.tif, ... beside it, all of which is.
        split: 'train', 'val' or 'test'; of a config only.
        options: Settings of the config to override.
        classes: Class names of a folder; when None, those in its dataset.json, else class1,
            class2, ... up to the last file.
        channel_order: Order of the channels in a folder's images; what its dataset.json says when
            None.

    Returns:
        The data set, in test mode: images without cells stay in.

    Raises:
        CellsegError: If there is no such file or folder, or the data cannot be used.
    """
    path = Path(source)
    if path.is_dir():
        names = list(classes) if classes else name_classes(path)
        settings: dict[str, Any] = {
            "type": "CellDataset",
            "data_root": str(path),
            "metainfo": {"classes": names},
            "channel_order": channel_order,
        }
    elif path.suffix == ".py":
        settings = dataset_config(read_config(path, options), split)
    else:
        raise CellsegError(f"{source} is neither a folder of images nor a config file (.py).")
    settings.update(pipeline=[], test_mode=True)
    return build_dataset(settings)


def build_dataset(settings: Mapping[str, Any]) -> CellDataset:
    """Build a data set; what is wrong with the data or its options becomes a CellsegError."""
    with as_cellseg_error((CellDataError, ValueError, TypeError, KeyError)):
        dataset = DATASETS.build(dict(settings))
    if not isinstance(dataset, CellDataset):
        raise CellsegError(f"The data set is a {type(dataset).__name__}; it must be a CellDataset.")
    return dataset


def name_classes(root: Path) -> list[str]:
    """Name the classes of a folder as its dataset.json does, else class1 up to the last file."""
    own = read_folder_facts(root).classes
    if own is not None:
        return list(own)
    numbers = [
        int(found.group(1))
        for path in list_files(root)
        if (found := re.fullmatch(r"class([1-9]\d*)\.tif", path.name))
    ]
    if not numbers:
        raise CellsegError(f"{root}: no label file is there; expected <id>/class1.tif and so on.")
    return [f"class{number}" for number in range(1, max(numbers) + 1)]


def open_parts(
    source: str | Path,
    num_folds: int | None = None,
    options: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    channel_order: str | None = "rgb",
) -> tuple[list[CellDataset], dict[str, list[int]]]:
    """Open all images of a config or a folder, and say which fold or split each belongs to.

    Args:
        source: As for `open_data`.
        num_folds: Folds to split into; None for the config's own, and none of a folder.
        options: Settings of the config to override.
        classes: Class names of a folder.
        channel_order: Order of the channels in a folder's images; what its dataset.json says when
            None.

    Returns:
        The data sets, and the name of each fold (or of each of the config's splits that have data
        of their own) to the indices of its images, counted through all data sets; empty where
        there are neither.

    Raises:
        CellsegError: If the data cannot be used, or there are fewer images than folds.
    """
    path = Path(source)
    if path.suffix != ".py" or path.is_dir():
        whole = open_data(source, "train", options, classes, channel_order)
        return [whole], _fold_parts(whole, num_folds or 0)
    config = read_config(path, options)
    settings = dataset_config(config, "train")
    folds = int(settings.get("num_folds", 0)) if num_folds is None else num_folds
    if folds:
        whole = build_dataset({**settings, **_WHOLE})
        return [whole], _fold_parts(whole, folds)
    datasets: list[CellDataset] = []
    parts: dict[str, list[int]] = {}
    seen = []
    for split, place in list_datasets(config).items():
        key = [place.get(name) for name in ("data_root", "include", "test_index")]
        if key in seen:
            continue
        seen.append(key)
        start = sum(len(dataset) for dataset in datasets)
        datasets.append(build_dataset({**place, **_WHOLE}))
        parts[split] = list(range(start, start + len(datasets[-1])))
    return datasets, parts


def _fold_parts(dataset: CellDataset, num_folds: int) -> dict[str, list[int]]:
    """List the images of each fold of a whole data set; an empty dict without folds."""
    if not num_folds:
        return {}
    with as_cellseg_error(CellDataError, f"The data cannot be split into {num_folds} folds: "):
        folds = dataset.split_into_folds(num_folds).folds
    return {f"fold {k}": np.flatnonzero(folds == k).tolist() for k in range(num_folds)}
