"""Open a model by its name, folder, checkpoint, or config and checkpoint."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from cellseg.config_files import list_configs
from cellseg.engine.checkpoint_loading import load_checkpoint_file
from cellseg.engine.checkpoints import find_resumable_checkpoint
from cellseg.engine.configs import read_config
from cellseg.engine.model_record import ModelRecord, RecordError, find_record, read_record
from cellseg.engine.plain_network import make_config
from cellseg.errors import CellsegError
from cellseg.model_files import (
    ModelFacts,
    ModelFolderError,
    find_default_model,
    find_model,
    is_model_folder,
    read_model_facts,
)
from cellseg.project_files import RUN_NAME, is_project

_CHECKPOINT_KINDS = {".pth", ".pt", ".ckpt", ".safetensors"}


@dataclass(frozen=True)
class ModelSource:
    """A model that is ready to be built.

    Attributes:
        config: Its config; of a model folder, one that was made of plain data.
        path: The checkpoint or model folder; None where weights stay as they are initialized.
        checkpoint: What was loaded from there.
        record: What is known of the training images; None where nothing is.
        facts: What the model folder says; None of a checkpoint.
    """

    config: Config
    path: Path | None = None
    checkpoint: dict[str, Any] | None = None
    record: ModelRecord | None = None
    facts: ModelFacts | None = None

    @property
    def name(self) -> str:
        """What to call the model: the folder's name, else the config's."""
        return self.facts.name if self.facts else Path(self.config.filename or "model").stem

    @property
    def is_alone(self) -> bool:
        """Whether the config was made of the record that came with the weights."""
        return self.path is not None and self.config.filename == str(self.path)

    @contextmanager
    def explain_building(self) -> Iterator[None]:
        """Say in a sentence that a network cannot be built from the settings in a record.

        Raises:
            CellsegError: If anything is raised inside; an error of a config that is a file, which
                somebody is writing, is left as it is.
        """
        try:
            yield
        except (CellsegError, ImportError, OSError):
            raise
        except Exception as error:  # MMDetection checks little of what it is told to build
            if not self.is_alone:
                raise
            detail = (str(error).strip() or type(error).__name__).split("\n")[0][:200]
            raise CellsegError(
                f"The model {self.path} cannot be built from the settings in its record "
                f"({detail}); copy it again, or ask whoever made it."
            ) from error

    def digest(self) -> str | None:
        """Return the checksum of the weights' file; None without one."""
        if self.facts is not None:
            return self.facts.sha256
        if self.path is None:
            return None
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def open_model(
    model: str | Path | Config | None = None,
    checkpoint: str | Path | None = None,
    options: dict[str, Any] | None = None,
) -> ModelSource:
    """Open a model.

    Args:
        model: The name or folder of a model, a checkpoint that holds its record, a project or the
            work folder of a training, whose last checkpoint is taken, or the config of
            `checkpoint`; with neither, the model that comes with the package.
        checkpoint: Weights that belong to the config. None with a config leaves the weights as they
            are initialized, for tests.
        options: Overrides of the config.

    Returns:
        The model, its weights loaded and checked.

    Raises:
        CellsegError: If there is no such model, or it cannot be used.
    """
    if checkpoint is not None:
        path = Path(checkpoint).expanduser()
        if model is None:
            return _open_alone(path, options)
        config = read_config(model, options)
        loaded = load_checkpoint_file(path)
        return ModelSource(config, path, loaded, find_record(loaded, path))
    if isinstance(model, Config) or _is_config(model):
        return ModelSource(read_config(model, options))
    if model is not None and Path(model).suffix in _CHECKPOINT_KINDS:
        return _open_alone(Path(model).expanduser(), options)
    if model is not None and (last := _find_last_checkpoint(Path(model).expanduser())) is not None:
        print_log(f"Using {last}, the last checkpoint of {model}.", "current")
        return _open_alone(last, options)
    folder = find_default_model() if model is None else find_model(model)
    source = _open_folder(folder, options)
    if model is None or not is_model_folder(model):
        _introduce(source)
    return source


def _find_last_checkpoint(folder: Path) -> Path | None:
    """Return the last checkpoint where a folder is a project, or the work folder of a training.

    Raises:
        CellsegError: If it is a project that was not trained yet.
    """
    if is_project(folder):
        last = find_resumable_checkpoint(folder / RUN_NAME)
        if last is None:
            raise CellsegError(
                f"The project {folder} has no trained model yet; run `cellseg train "
                f"{shlex.quote(str(folder))}`."
            )
        return last
    if is_model_folder(folder) or not (folder / "last_checkpoint").is_file():
        return None
    return find_resumable_checkpoint(folder)


def _is_config(model: str | Path | None) -> bool:
    """Return whether a name is that of a config, by its ending or among the shipped ones."""
    if model is None or is_model_folder(model):
        return False
    path = Path(model)
    return path.suffix == ".py" or (path.parent == Path() and path.name in list_configs())


def _open_folder(folder: Path, options: dict[str, Any] | None) -> ModelSource:
    """Open a model folder."""
    facts = read_model_facts(folder)
    try:
        record = read_record(facts.record)
        config = read_config(make_config(record, str(folder)), options)
    except RecordError as error:
        raise ModelFolderError(
            f"The model folder {folder} cannot be used: {error}; copy it again, or ask whoever "
            "made it."
        ) from error
    return ModelSource(config, folder, load_checkpoint_file(folder), record, facts)


def _open_alone(path: Path, options: dict[str, Any] | None) -> ModelSource:
    """Open a checkpoint without its config, or the folder that a weights' file lies in."""
    if path.is_dir() or (path.suffix == ".safetensors" and is_model_folder(path.parent)):
        return _open_folder(find_model(path if path.is_dir() else path.parent), options)
    loaded = load_checkpoint_file(path)
    record = find_record(loaded, path)
    if record is None:
        raise CellsegError(
            f"The checkpoint {path} has no record of its model, because it was not trained with "
            "this version; give the config that it was trained with (--config)."
        )
    try:
        config = read_config(make_config(record, str(path)), options)
    except RecordError as error:
        raise CellsegError(
            f"The checkpoint {path} cannot be used alone: {error}; give the config that it was "
            "trained with (--config)."
        ) from error
    return ModelSource(config, path, loaded, record)


def _introduce(source: ModelSource) -> None:
    """Say which of the shipped models is used, what it knows, and on which terms."""
    if source.facts is not None:
        data = source.facts.training.get("data")
        known = f" It was trained on {data}." if data else ""
        print_log(
            f"Using the model {source.facts.name} ({', '.join(source.facts.classes)}; license: "
            f"{source.facts.license}).{known} `cellseg models` lists all of them, --model chooses "
            "one.",
            "current",
        )
