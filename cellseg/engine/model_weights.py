"""Read and write the weights of a model folder: safetensors, which hold nothing but tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from cellseg.engine.model_record import RECORD_KEY
from cellseg.fileio import write_atomically
from cellseg.model_files import (
    FACTS_NAME,
    WEIGHTS_NAME,
    ModelFolderError,
    is_model_folder,
    read_model_facts,
)


def read_weights(path: Path, sha256: str | None = None) -> dict[str, torch.Tensor]:
    """Read weights, as float32 where they are stored in fewer bits.

    Args:
        path: A .safetensors file.
        sha256: Its checksum; None to take it as it is.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        ModelFolderError: If the file is missing, damaged, or not the one with that checksum.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFolderError(
            f"The weights {path} cannot be read ({type(error).__name__}); copy the model folder "
            "again."
        ) from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ModelFolderError(
            f"The weights {path} do not match the checksum in {FACTS_NAME}: they are damaged or "
            "were exchanged; copy the model folder again."
        )
    try:
        weights = load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ModelFolderError(
            f"The file {path} is not a safetensors file, or is damaged; copy it again."
        ) from error
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in weights.items()
    }


def write_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> tuple[str, int]:
    """Write weights in half precision; vectors, which norms need exactly, stay as they are.

    Args:
        path: The .safetensors file.
        weights: Tensors by name.

    Returns:
        SHA-256 of the file in hexadecimal, and its size in bytes.
    """
    content = save({name: _shrink(value) for name, value in weights.items()})
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest(), len(content)


def load_model_checkpoint(path: Path) -> dict[str, Any] | None:
    """Load a model folder, or the weights in one, as if it were a checkpoint.

    Args:
        path: A model folder, or a .safetensors file.

    Returns:
        `state_dict` and `meta`, as MMEngine's checkpoints have them; None for any other path.

    Raises:
        ModelFolderError: If it cannot be used.
    """
    folder = path if path.is_dir() else path.parent
    is_weights = path.suffix == ".safetensors" and path.is_file()
    if not is_weights and not (path.is_dir() and is_model_folder(path)):
        return None
    if is_weights and not (folder / FACTS_NAME).is_file():
        return {"state_dict": read_weights(path), "meta": {}}
    facts = read_model_facts(folder)
    weights = read_weights(folder / WEIGHTS_NAME if path.is_dir() else path, facts.sha256)
    meta = {RECORD_KEY: facts.record, "dataset_meta": {"classes": facts.classes}}
    return {"state_dict": weights, "meta": meta}


def _shrink(value: torch.Tensor) -> torch.Tensor:
    """Store a matrix of floats in 16 bit, unless a value is too large for that."""
    value = value.detach().cpu().contiguous()
    if value.ndim < 2 or value.dtype != torch.float32 or value.abs().max() > 60000:
        return value.clone()
    return value.half()
