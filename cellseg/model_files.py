"""Find the models that come with the package, and read what their folders say; needs no PyTorch.

A model is a folder of `model.safetensors` (the weights), `model.json` (what they are) and
`README.md` (the model card). Nothing in it is ever run.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellseg.errors import CellsegError

WEIGHTS_NAME = "model.safetensors"
FACTS_NAME = "model.json"
CARD_NAME = "README.md"
FORMAT = "cellseg model"
VERSION = 1
DEFAULT_MODELS = ("nuclei-he", "nuclei-cc0")
"""Which model is used where none is named: the first of them that is there."""

FOLDER_VARIABLE = "CELLSEG_MODELS"
"""Environment variable that names further folders of models."""

_PACKAGE = Path(__file__).resolve().parent


class ModelFolderError(CellsegError):
    """A model folder cannot be used; the message names it and how to fix it."""


@dataclass(frozen=True)
class ModelFacts:
    """What a model folder says of its model.

    Attributes:
        folder: The folder.
        name: The model's name.
        classes: Names of its classes.
        license: Terms of use of the weights.
        sha256: Checksum of the weights' file, in hexadecimal.
        num_bytes: Size of the weights' file.
        scores: Metrics by name, as the publisher measured them.
        record: The record of the model, as plain data (see `cellseg.engine.model_record`).
        training: Further facts for the card: command, date, data, seed.
    """

    folder: Path
    name: str
    classes: tuple[str, ...]
    license: str
    sha256: str
    num_bytes: int
    scores: dict[str, float]
    record: dict[str, Any]
    training: dict[str, Any]


def list_model_folders() -> list[Path]:
    """List the folders that models are looked for in: the user's, the package's, the checkout's."""
    own = [Path(name) for name in os.environ.get(FOLDER_VARIABLE, "").split(os.pathsep) if name]
    folders = [*own, _PACKAGE / "shipped_models"]
    if (_PACKAGE.parent / "configs" / "_base_").is_dir():
        folders.append(_PACKAGE.parent / "models")
    return [folder for folder in folders if folder.is_dir()]


def list_models() -> dict[str, Path]:
    """Return the folders of all models that can be found, by name, in order."""
    found: dict[str, Path] = {}
    for folder in list_model_folders():
        for path in sorted(folder.glob(f"*/{FACTS_NAME}")):
            found.setdefault(path.parent.name, path.parent)
    return dict(sorted(found.items()))


def find_default_model() -> Path:
    """Find the model to use where none is named.

    Raises:
        CellsegError: If none is installed.
    """
    models = list_models()
    for name in DEFAULT_MODELS:
        if name in models:
            return models[name]
    raise CellsegError(
        "No model comes with this installation; give a model folder or a checkpoint with --model, "
        "or a config and its checkpoint with --config and --checkpoint."
    )


def is_model_folder(path: str | Path) -> bool:
    """Return whether a path is a folder that holds, or was meant to hold, a model."""
    return any((Path(path) / name).is_file() for name in (FACTS_NAME, WEIGHTS_NAME))


def find_model(name: str | Path) -> Path:
    """Find a model's folder.

    Args:
        name: The folder, or the name of a model that comes with the package.

    Returns:
        The folder. One that exists goes before a shipped model of that name.

    Raises:
        CellsegError: If there is no such model; the sentence names the nearest ones.
    """
    path, models = Path(name).expanduser(), list_models()
    if is_model_folder(path):
        return path
    if path.parent == Path() and path.name in models:
        return models[path.name]
    if path.is_dir():
        raise ModelFolderError(
            f"The folder {path} is not a model folder: it has no {FACTS_NAME} and {WEIGHTS_NAME}, "
            "and no last_checkpoint of a training; `cellseg publish` makes one of a checkpoint."
        )
    near = difflib.get_close_matches(path.name, models, n=3, cutoff=0.4)
    if near:
        hint = f"the nearest are {', '.join(near)}; `cellseg models` lists them all"
    elif models:
        hint = f"there are {', '.join(models)}"
    else:
        hint = "no model comes with this installation"
    raise CellsegError(f"There is no model {name}; {hint}.")


def read_model_facts(folder: str | Path) -> ModelFacts:
    """Read what a model folder says, without its weights.

    Args:
        folder: The model folder.

    Returns:
        The facts; the record in them is unchecked.

    Raises:
        ModelFolderError: If model.json is missing, damaged, or of another program or version.
    """
    folder = Path(folder)
    path = folder / FACTS_NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderError(
            f"The model folder {folder} has no {FACTS_NAME}; copy the whole folder again."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFolderError(
            f"{path} cannot be read ({type(error).__name__}); copy the model folder again."
        ) from error
    if not isinstance(found, Mapping) or found.get("format") != FORMAT:
        raise ModelFolderError(
            f"{path} is not a model of cellseg; give a folder that `cellseg publish` made."
        )
    if found.get("version") != VERSION:
        raise ModelFolderError(
            f"{path} has version {found.get('version')!r}, and this cellseg reads version "
            f"{VERSION}; update cellseg."
        )
    return _check_facts(folder, found)


def _check_facts(folder: Path, found: Mapping[str, Any]) -> ModelFacts:
    """Check the parts of a model.json; raise ModelFolderError where one is missing."""
    record, weights = found.get("record"), found.get("weights")
    classes = record.get("classes") if isinstance(record, Mapping) else None
    digest = weights.get("sha256") if isinstance(weights, Mapping) else None
    num_bytes = weights.get("bytes") if isinstance(weights, Mapping) else None
    scores, training = found.get("scores") or {}, found.get("training") or {}
    parts = {
        "record": isinstance(record, Mapping),
        "classes": isinstance(classes, list) and all(isinstance(name, str) for name in classes),
        "checksum": isinstance(digest, str) and len(digest) == 64,
        "size": isinstance(num_bytes, int),
        "scores": isinstance(scores, Mapping)
        and all(isinstance(value, int | float) for value in scores.values()),
        "training": isinstance(training, Mapping),
    }
    bad = [name for name, is_good in parts.items() if not is_good]
    if bad:
        raise ModelFolderError(
            f"{folder / FACTS_NAME} is damaged (its {', '.join(bad)}); copy the model folder again."
        )
    return ModelFacts(
        folder,
        str(found.get("name") or folder.resolve().name),
        tuple(classes or ()),
        str(found.get("license") or "not stated"),
        str(digest).lower(),
        int(num_bytes or 0),
        dict(scores),
        dict(record or {}),
        dict(training),
    )
