"""Open the data that a tool is to judge or describe: a config's, or just a folder's."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config, ConfigDict

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.datasets.tiff_io import CellDataError
from cellseg.errors import CellsegError

SPLITS = ("train", "val", "test")


def read_config(path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config file.

    Args:
        path: The file.
        options: Settings to override, as `--cfg-options` gives them.

    Returns:
        The config.

    Raises:
        CellsegError: If there is no such file, it cannot be read, or an option does not fit.
    """
    if not Path(path).is_file():
        raise CellsegError(f"There is no config file {path}; give a .py file as in configs/cell/.")
    try:
        config = Config.fromfile(path)
        if options:
            config.merge_from_dict(dict(options))
    except (
        SyntaxError,
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        ImportError,
        OSError,
    ) as error:
        raise CellsegError(f"{path} cannot be read as a config: {error}") from error
    return config


def dataset_config(config: Config, split: str) -> ConfigDict:
    """Find the data set of one split, wrappers such as RepeatDataset taken off.

    Args:
        config: The config.
        split: 'train', 'val' or 'test'.

    Returns:
        A copy of the data set's own config.

    Raises:
        CellsegError: If the config has none.
    """
    dataset = (config.get(f"{split}_dataloader") or {}).get("dataset")
    while dataset is not None and "dataset" in dataset:
        dataset = dataset["dataset"]
    if dataset is None:
        raise CellsegError(f"{config.filename} has no data set in {split}_dataloader.")
    return ConfigDict(dataset)


def open_data(
    source: str | Path,
    split: str = "test",
    options: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    channel_order: str = "rgb",
) -> CellDataset:
    """Open the images and ground truth of a config or of a folder; no transform is applied.

    Args:
        source: A config file (.py), whose data set of the split is opened, or a folder of
            `<id>/image.tif` with class1.tif, class2.tif, ... beside it, all of which is.
        split: 'train', 'val' or 'test'; of a config only.
        options: Settings of the config to override.
        classes: Class names of a folder; class1, class2, ... up to the last file when None.
        channel_order: Order of the channels in a folder's images.

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
    try:
        dataset = DATASETS.build(dict(settings))
    except (CellDataError, ValueError, TypeError, KeyError) as error:
        raise CellsegError(str(error)) from error
    if not isinstance(dataset, CellDataset):
        raise CellsegError(f"The data set is a {type(dataset).__name__}; it must be a CellDataset.")
    return dataset


def name_classes(root: Path) -> list[str]:
    """Name the classes of a folder after its label files, class1 up to the highest number."""
    numbers = [
        int(found.group(1))
        for path in root.rglob("class*.tif")
        if (found := re.fullmatch(r"class([1-9]\d*)\.tif", path.name))
    ]
    if not numbers:
        raise CellsegError(f"{root}: no label file is there; expected <id>/class1.tif and so on.")
    return [f"class{number}" for number in range(1, max(numbers) + 1)]
