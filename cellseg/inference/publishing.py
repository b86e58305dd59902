"""Turn a checkpoint into a model folder, and check that it finds the same cells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cellseg.engine.model_record import RecordError
from cellseg.engine.model_weights import write_weights
from cellseg.engine.plain_network import make_config
from cellseg.errors import CellsegError
from cellseg.fileio import write_atomically
from cellseg.images import ArraySource
from cellseg.inference.model_card import write_card
from cellseg.inference.model_source import ModelSource
from cellseg.inference.predictor import Predictor
from cellseg.model_files import CARD_NAME, FACTS_NAME, FORMAT, VERSION, WEIGHTS_NAME
from cellseg.scoring.matching import match_cells, overlap_masks
from cellseg.structures.cells import Cells

_SAME_IOU = 0.8
_SAME_SHARE = 0.97
LARGEST_BYTES = 12_000_000
"""What a model may take at most to lie in the repository."""


@dataclass(frozen=True)
class ModelComparison:
    """How the cells of a model folder compare with those of its checkpoint.

    Attributes:
        num_images: Images compared.
        num_before: Cells that the checkpoint finds.
        num_after: Cells that the folder finds.
        num_same: Cells of both that overlap with an IoU above 0.8.
        largest_change: Largest change of the score of such a cell.
    """

    num_images: int = 0
    num_before: int = 0
    num_after: int = 0
    num_same: int = 0
    largest_change: float = 0.0

    @property
    def is_same(self) -> bool:
        """Whether at least 97% of the cells of each are cells of the other."""
        return self.num_same >= _SAME_SHARE * max(self.num_before, self.num_after)

    def describe(self) -> str:
        """Write the comparison as a sentence."""
        if not self.num_before and not self.num_after:
            return f"No cell was found on {self.num_images} images, before and after."
        return (
            f"On {self.num_images} images the checkpoint finds {self.num_before} cells and the "
            f"model folder {self.num_after}; {self.num_same} are the same (IoU above {_SAME_IOU}), "
            f"with scores that differ by at most {self.largest_change:.3f}."
        )


@dataclass(frozen=True)
class Publication:
    """What is said of a model in its folder.

    Attributes:
        name: The model's name.
        license: Terms of use.
        scores: Metrics by name.
        training: Further facts for the card, as text by title.
    """

    name: str
    license: str = "not stated"
    scores: Mapping[str, float] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


def publish_model(source: ModelSource, folder: Path, publication: Publication) -> int:
    """Write a model folder.

    Args:
        source: The model, with its checkpoint loaded and its record known.
        folder: Where to write; made if absent. A model that is there is replaced.
        publication: What is said of the model.

    Returns:
        Size of the weights in bytes.

    Raises:
        CellsegError: If the model cannot be described by plain data, or holds no weights.
    """
    record, checkpoint = source.record, source.checkpoint
    if record is None or checkpoint is None:
        raise CellsegError("A model needs a record and a checkpoint to be published.")
    try:
        make_config(record, str(folder))
    except RecordError as error:
        raise CellsegError(
            f"The model of {source.path} cannot be published as plain data: {error}."
        ) from error
    weights = checkpoint.get("state_dict", checkpoint)
    tensors = {
        name.removeprefix("module."): value
        for name, value in weights.items()
        if isinstance(value, torch.Tensor)
    }
    digest, num_bytes = write_weights(folder / WEIGHTS_NAME, tensors)
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "name": publication.name,
        "license": publication.license,
        "weights": {"file": WEIGHTS_NAME, "sha256": digest, "bytes": num_bytes},
        "scores": dict(publication.scores),
        "training": dict(publication.training),
        "record": record.to_dict(),
    }
    write_atomically(folder / FACTS_NAME, json.dumps(facts, indent=1) + "\n")
    card = write_card(record, num_bytes, publication.name, publication.license, facts)
    write_atomically(folder / CARD_NAME, card)
    return num_bytes


def compare_models(
    before: Predictor, after: Predictor, images: Sequence[NDArray[np.uint8]]
) -> ModelComparison:
    """Compare the cells that two models find.

    Args:
        before: The checkpoint.
        after: The model folder.
        images: (H, W, 3) uint8 B, G, R each.

    Returns:
        The comparison.
    """
    result = ModelComparison()
    for image in images:
        source = ArraySource(image)
        choice = after.choose_scale(source)  # one scale, whatever each would choose
        ours, theirs = before(source, None, choice), after(source, None, choice)
        same, change = _count_same(ours, theirs)
        result = replace(
            result,
            num_images=result.num_images + 1,
            num_before=result.num_before + len(ours),
            num_after=result.num_after + len(theirs),
            num_same=result.num_same + same,
            largest_change=max(result.largest_change, change),
        )
    return result


def _count_same(ours: Cells, theirs: Cells) -> tuple[int, float]:
    """Count the cells of both, and find the largest change of a score among them."""
    if ours.masks is None or theirs.masks is None or not len(ours) or not len(theirs):
        return 0, 0.0
    matches = match_cells(overlap_masks(ours.masks, theirs.masks), _SAME_IOU)
    if not len(matches):
        return 0, 0.0
    changes = ours.confidences[matches.gt_index] - theirs.confidences[matches.pred_index]
    return len(matches), float(np.abs(changes).max())
