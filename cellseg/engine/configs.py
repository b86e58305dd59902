"""Read configs, and find data sets and metrics in them; every tool does so here."""

import argparse
import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from cellseg.config_files import configs_folder, find_config
from cellseg.defaults import SPLITS
from cellseg.engine.cell_classes import KEY, read_own_classes, set_cell_classes
from cellseg.engine.cell_scale import KEY as SCALE_KEY
from cellseg.engine.cell_scale import set_cell_scale
from cellseg.engine.option_checks import check_options, settle_workers
from cellseg.engine.options_action import OptionsAction
from cellseg.engine.start_model import KEY as START_KEY
from cellseg.engine.start_model import set_start_model
from cellseg.errors import CellsegError
from cellseg.palette import Color, choose_palette


def parse_cfg_options(words: Sequence[str] | None) -> dict[str, Any] | None:
    """Turn the words of --cfg-options into settings, as MMEngine reads them.

    Args:
        words: key=value each; None or none at all where the flag was not given.

    Returns:
        The settings by dotted name; None without words.

    Raises:
        CellsegError: If a value cannot be read.
    """
    if not words:
        return None
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--cfg-options", nargs="+", action=OptionsAction)
    try:
        settings: dict[str, Any] = parser.parse_args(["--cfg-options", *words]).cfg_options
    except (AssertionError, ValueError) as error:
        raise CellsegError(
            f"--cfg-options {' '.join(words)} cannot be read: {error}; give key=value pairs with "
            "balanced brackets."
        ) from error
    return settings


def read_config(config: str | Path | Config, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config; `start_from`, `cell_classes` and `cell_scale` set what follows from them.

    Args:
        config: A path, the name of a shipped config, or a config, which is copied.
        options: Settings to override, by dotted name, as `parse_cfg_options` returns them.

    Returns:
        The config.

    Raises:
        CellsegError: If there is no such file, it cannot be read, or an option does not fit.
    """
    if isinstance(config, Config):
        cfg = copy.deepcopy(config)
    else:
        path = find_config(config)
        try:
            cfg = Config.fromfile(path)
        except (
            SyntaxError,
            AttributeError,
            KeyError,
            NameError,
            TypeError,
            ValueError,
            IndexError,
            ImportError,
            OSError,
        ) as error:
            hint = _find_moved_base(path) if isinstance(error, OSError) else ""
            raise CellsegError(f"{path} cannot be read as a config: {error}{hint}") from error
        _settle(cfg, options or {})
    if options:
        check_options(cfg, options)
        try:
            cfg.merge_from_dict(dict(options))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            names = ", ".join(options)
            raise CellsegError(
                f"--cfg-options {names} does not fit {cfg.filename}: {error}"
            ) from error
        if KEY in options:
            set_cell_classes(cfg)
    settle_workers(cfg)
    return cfg


def _find_moved_base(path: Path) -> str:
    """Say where the base of a project's config lies now, when cellseg was installed elsewhere."""
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError):  # what cannot be read has been said already
        return ""
    named = re.search(r"^_base_ = ['\"](.+)['\"]$", text, re.MULTILINE)
    if named is None or Path(named[1]).exists():
        return ""
    here = configs_folder().resolve().joinpath(*Path(named[1]).parts[-2:])
    if not here.is_file():
        return ""
    return (
        ". cellseg was installed elsewhere when this config was made; change its line to "
        f'_base_ = "{here.as_posix()}"'
    )


def _settle(config: Config, options: Mapping[str, Any]) -> None:
    """Set what follows from the short settings of a config, or from options that override them."""
    short = {START_KEY, KEY, SCALE_KEY} & options.keys() & config.keys()
    config.merge_from_dict({name: options[name] for name in short})
    set_start_model(config)
    set_cell_classes(config)
    set_cell_scale(config)


def find_dataset_key(config: Config, split: str) -> str:
    """Find where a config describes the data set of one split, inside its wrappers.

    Args:
        config: The config.
        split: 'train', 'val' or 'test'.

    Returns:
        The dotted name of its settings, such as 'train_dataloader.dataset'.

    Raises:
        CellsegError: If the config has none.
    """
    return _find_dataset(config, split)[0]


def dataset_config(config: Config, split: str) -> ConfigDict:
    """Find the data set of one split, without its wrappers.

    Args:
        config: The config.
        split: 'train', 'val' or 'test'.

    Returns:
        A copy of the data set's own settings.

    Raises:
        CellsegError: If the config has none.
    """
    return ConfigDict(_find_dataset(config, split)[1])


def list_datasets(config: Config) -> dict[str, ConfigDict]:
    """List the settings of a config's data sets by split; changing one changes the config."""
    present = [s for s in SPLITS if (config.get(f"{s}_dataloader") or {}).get("dataset")]
    return {split: _find_dataset(config, split)[1] for split in present}


def _find_dataset(config: Config, split: str) -> tuple[str, ConfigDict]:
    """Find the dotted name and the settings of a split's data set, without its wrappers.

    Of a ConcatDataset the first one counts: it says what the model is for, the others add images.
    """
    key = f"{split}_dataloader.dataset"
    dataset = (config.get(f"{split}_dataloader") or {}).get("dataset")
    if dataset is None:
        raise CellsegError(f"{config.filename} has no data set in {split}_dataloader.")
    while "dataset" in dataset or "datasets" in dataset:
        if "dataset" in dataset:
            key, dataset = f"{key}.dataset", dataset["dataset"]
        else:
            key, dataset = f"{key}.datasets.0", dataset["datasets"][0]
    return key, dataset


def find_test_dataset(config: Config) -> ConfigDict:
    """Find the settings of the test data set, else of the validation one.

    Raises:
        CellsegError: If there is none with a pipeline.
    """
    datasets = list_datasets(config)
    dataset = datasets.get("test") or datasets.get("val")
    if dataset is None or "pipeline" not in dataset:
        raise CellsegError(
            f"The config {config.filename} has no test_dataloader with a pipeline, which says how "
            "images reach the model."
        )
    return dataset


def read_class_names(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the class names from a data set's settings, else from its folder's dataset.json.

    Raises:
        CellsegError: If there are none.
    """
    names = (dataset.get("metainfo") or {}).get("classes") or read_own_classes(dataset)
    if names is None:
        raise CellsegError("The config's test data set names no classes; set cell_classes = (...).")
    return (names,) if isinstance(names, str) else tuple(names)


def read_palette(dataset: Mapping[str, Any]) -> list[Color]:
    """Read one color per class from a data set's settings; the default ones where it has none."""
    own = (dataset.get("metainfo") or {}).get("palette")
    return choose_palette(len(read_class_names(dataset)), own)


def find_cell_metric(config: Config) -> ConfigDict | None:
    """Find the CellMetric of a config's test_evaluator, which may be a list; None without one."""
    found = config.get("test_evaluator") or []
    for evaluator in found if isinstance(found, list | tuple) else [found]:
        if str(evaluator.get("type")).rpartition(".")[2] == "CellMetric":
            return evaluator
    return None
