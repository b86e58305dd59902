"""Count the connected pieces of cells, to notice one label that stands for many cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cellseg.structures.rle import find_runs
from cellseg.structures.runs import Runs, expand_ranges, measure_runs

MERGED_LABELS_HINT = (
    "each label counts as one cell; is it a black-and-white mask, or an 8-bit one of more than 255 "
    "cells? Save one id per cell in 16 bit, or convert with --connected-components, which makes "
    "every piece a cell"
)
"""What to do where `look_merged` is true."""

_LARGEST_8BIT_ID = 255
_FEWEST_8BIT_LABELS = 250
_FAR_APART_FILL = 0.25
_FEWEST_FAR_APART = 3
_FEWEST_MORE_PIECES = 2


@dataclass(frozen=True)
class LabelPieces:
    """How the labels of one label map, or of several together, lie in connected pieces.

    Attributes:
        num_labels: Number of labels.
        num_split: Labels in several pieces.
        num_pieces: Pieces of all labels.
        num_far_apart: Labels in several pieces that fill less than a quarter of their box.
    """

    num_labels: int = 0
    num_split: int = 0
    num_pieces: int = 0
    num_far_apart: int = 0

    def __add__(self, other: LabelPieces) -> LabelPieces:
        """Count two label maps together."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return LabelPieces(*(mine + theirs for mine, theirs in pairs))

    @property
    def is_mask(self) -> bool:
        """Whether most labels are in several pieces, as in a mask of 0 and 255 or of classes."""
        more = self.num_pieces - self.num_labels
        is_clear = more >= _FEWEST_MORE_PIECES or 0 < self.num_labels == self.num_far_apart
        return is_clear and 2 * self.num_split > self.num_labels

    @property
    def has_started_over(self) -> bool:
        """Whether the ids fit into 8 bit and some are used in places far apart, as for two cells.

        Where almost all ids are used, one such place is enough.
        """
        is_full = self.num_labels >= _FEWEST_8BIT_LABELS
        fewest = 1 if is_full else _FEWEST_FAR_APART
        return self.num_labels <= _LARGEST_8BIT_ID and self.num_far_apart >= fewest


def is_yes_no_mask(ids: Sequence[int]) -> bool:
    """Return whether the only id of a label map is 255, which is how masks store yes."""
    return list(ids) == [_LARGEST_8BIT_ID]


def look_merged(layers: Iterable[LabelPieces]) -> bool:
    """Return whether labels of an image's label maps seem to stand for many cells each."""
    counted = list(layers)
    total = sum(counted, LabelPieces())
    return total.is_mask or any(pieces.has_started_over for pieces in counted)


def look_merged_in(label_map: NDArray[np.integer]) -> bool:
    """Return whether labels of one label map (H, W) seem to stand for many cells each."""
    ids, runs = find_runs(label_map, None)
    pieces = count_pieces(runs, len(ids), label_map.shape[0])
    return is_yes_no_mask(ids.tolist()) or look_merged([pieces])


def count_pieces(runs: Runs, num_labels: int, height: int) -> LabelPieces:
    """Count the connected pieces of labels; diagonal neighbors touch.

    Args:
        runs: Runs of the labels, column after column.
        num_labels: Number of labels, N.
        height: Height of the image in pixels.

    Returns:
        The counts over all labels; zeros where there are none.
    """
    if not len(runs.owners):
        return LabelPieces(num_labels)
    piece_owners = runs.owners[np.unique(_connect(runs, height), return_index=True)[1]]
    counts = np.bincount(piece_owners, minlength=num_labels)
    boxes, areas = measure_runs(runs, num_labels, height)
    box_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    is_split = counts > 1
    is_far = is_split & (areas < _FAR_APART_FILL * box_areas)
    return LabelPieces(
        num_labels, int(is_split.sum()), int(counts.sum()), int(np.count_nonzero(is_far))
    )


def _connect(runs: Runs, height: int) -> NDArray[np.integer]:
    """Number the piece (R,) that each run belongs to: runs touch across neighboring columns."""
    stride = int(runs.ends.max()) + height + 2  # keeps the positions of different labels apart
    starts, ends = runs.owners * stride + runs.starts, runs.owners * stride + runs.ends
    first = np.searchsorted(ends, starts + height)  # a run that ends at or below the same row
    last = np.searchsorted(starts, ends + height, side="right")
    rows, partners = expand_ranges(first, np.maximum(first, last))
    links = coo_array(
        (np.ones(len(rows), dtype=np.int8), (rows, partners)), shape=(len(starts), len(starts))
    )
    labels: NDArray[np.integer] = connected_components(links, directed=False)[1]
    return labels
