"""Notice drawn annotations that are probably not one cell each, and cut those in pieces apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cellseg.formats.conversion.annotations import Annotation, Loss
from cellseg.formats.conversion.names import IGNORED
from cellseg.structures.label_pieces import MERGED_LABELS_HINT, count_pieces, look_merged
from cellseg.structures.rle import find_runs
from cellseg.structures.runs import Crop

MERGED = f"most labels are in several pieces: {MERGED_LABELS_HINT}"
ENCLOSES = (
    "encloses other objects: if it is a region, not a cell, leave it out with --class-map "
    "NAME=drop, or correct the annotation"
)
YES_NO = f"the only label is 255: {MERGED_LABELS_HINT}"
YES_NO_LABEL = "label 255"
_ENCLOSED_SHARE = 0.9
_MUCH_LARGER = 10
_Drawn = Mapping[int, Sequence[tuple[Annotation, Crop]]]


def cut_pieces(crop: Crop) -> list[Crop]:
    """Cut a mask into its connected pieces; diagonal neighbors touch."""
    numbered, count = ndimage.label(crop.mask, np.ones((3, 3)))
    if count < 2:
        return [crop]
    return [
        Crop(numbered[box] == number, crop.x0 + box[1].start, crop.y0 + box[0].start)
        for number, box in enumerate(ndimage.find_objects(numbered), start=1)
    ]


def warn_of_merged(
    layers: Mapping[int, NDArray[Any]], labels: Sequence[str], image: str
) -> list[Loss]:
    """Warn where labels of an image's layers seem to stand for many cells each.

    Args:
        layers: (H, W) label maps by class index, renumbered.
        labels: How the annotations that they were made of are called.
        image: Its name.
    """
    if labels == [YES_NO_LABEL]:
        return [Loss("warning", image, "", "", YES_NO)]
    counted = []
    for place, layer in layers.items():
        if place != IGNORED:
            ids, runs = find_runs(layer, None)
            counted.append(count_pieces(runs, len(ids), layer.shape[0]))
    return [Loss("warning", image, "", "", MERGED)] if look_merged(counted) else []


def warn_of_enclosing(drawn: _Drawn, shape: tuple[int, int], image: str) -> list[Loss]:
    """Warn of annotations that enclose others of any class, as regions and tiles do.

    One that encloses a single other counts only where it is much larger: a nucleus in its cell, or
    a cell that engulfed another, is no mistake.

    Args:
        drawn: Annotations with their masks by place; regions to ignore are not checked.
        shape: Height and width of the image in pixels.
        image: Its name.

    Returns:
        A warning for each such annotation.
    """
    cells = [pair for place, own in drawn.items() if place != IGNORED for pair in own]
    areas = [int(np.count_nonzero(crop.mask)) for _, crop in cells]
    canvas = np.zeros(shape, dtype=np.int32)
    enclosed: dict[int, list[int]] = {}
    for index in sorted(range(len(cells)), key=lambda index: (-areas[index], index)):
        mask, x0, y0 = cells[index][1]
        window = canvas[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
        below = _find_below(window[mask])
        if below and areas[below - 1] > areas[index]:
            enclosed.setdefault(below - 1, []).append(areas[index])
        window[mask] = index + 1
    return [
        Loss("warning", image, annotation.label, annotation.class_name, ENCLOSES)
        for index, inner in sorted(enclosed.items())
        if len(inner) > 1 or areas[index] >= _MUCH_LARGER * inner[0]
        for annotation in [cells[index][0]]
    ]


def _find_below(values: NDArray[np.int32]) -> int:
    """Return the number that almost all values are; 0 where there is none."""
    low = int(values.min())
    if low == values.max():
        return low
    numbers, counts = np.unique(values, return_counts=True)
    most = int(counts.argmax())
    return int(numbers[most]) if counts[most] >= _ENCLOSED_SHARE * len(values) else 0
