"""Paint annotations into label maps, one a class, and keep account of every pixel lost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.formats.conversion.annotations import (
    Annotation,
    Loss,
    UnusableAnnotationError,
)
from cellseg.formats.conversion.checks import cut_pieces, warn_of_enclosing, warn_of_merged
from cellseg.formats.conversion.names import IGNORED, LEFT_OUT, ClassTable
from cellseg.structures.runs import Crop

_MOST_COVERED, _SMALL_PX = 100, 2**27
_FEW = 2000  # annotations that any image may have

_Drawn = dict[int, list[tuple[Annotation, Crop]]]


@dataclass
class PaintedImage:
    """The label maps of one image.

    Attributes:
        layers: (H, W) uint16, or uint32 where that is too small, by class index, regions to ignore
            under IGNORED; only of classes that occur. No id is in two of them.
        counts: Cells of each layer.
        losses: What was left out or changed.
    """

    layers: dict[int, NDArray[Any]]
    counts: dict[int, int]
    losses: list[Loss]


def paint_annotations(
    annotations: Iterable[Annotation],
    table: ClassTable,
    shape: tuple[int, int],
    image: str,
    split_pieces: bool = False,
) -> PaintedImage:
    """Paint annotations into label maps.

    Where cells of one class overlap the smaller one keeps the pixels, of equal ones the earlier:
    a small cell drawn on a large one stays whole, and both are left. What a cell loses is counted;
    one that loses every pixel is left out. Cells of different classes may overlap.

    Args:
        annotations: Of one image; may be none.
        table: The class of each name.
        shape: Height and width of the image in pixels.
        image: Its name, for the account.
        split_pieces: Make every connected piece of an annotation a cell of its own.

    Returns:
        The label maps, with ids 1, 2, ... in the order of classes, then of annotations.

    Raises:
        CellDataError: If they are more than the image has pixels, or cover it a hundred times
            over, which would not end.
    """
    losses: list[Loss] = []
    drawn, doubles = _draw_all(annotations, table, shape, image, split_pieces, losses)
    losses += warn_of_enclosing(drawn, shape, image)
    labels = [annotation.label for own in drawn.values() for annotation, _ in own]
    painted = _paint_layers(drawn, shape, image, losses)
    painted.losses += doubles
    painted.losses += warn_of_merged(painted.layers, labels, image)
    return painted


def _draw_all(
    annotations: Iterable[Annotation],
    table: ClassTable,
    shape: tuple[int, int],
    image: str,
    split_pieces: bool,
    losses: list[Loss],
) -> tuple[_Drawn, list[Loss]]:
    """Draw annotations: cells by class, and those that repeat another; add what was left out."""
    drawn: _Drawn = {}
    seen: set[tuple[int, int, int, int, int, bytes]] = set()
    doubles: list[Loss] = []
    covered = 0
    most = max(shape[0] * shape[1], _FEW)
    for number, annotation in enumerate(annotations):
        if number >= most:
            raise CellDataError(
                f"{image}: has more annotations than pixels, {shape[0]} x {shape[1]}; give the "
                "image that was annotated, or leave it out with --skip-bad."
            )
        place = IGNORED if annotation.is_ignored else table.find(annotation.class_name)
        for piece in _draw_pieces(annotation, place, shape, image, split_pieces, losses):
            height, width = piece.mask.shape
            covered += height * width
            packed = hashlib.sha256(np.packbits(piece.mask).tobytes()).digest()
            facts = place, piece.x0, piece.y0, height, width, packed
            if place != IGNORED and facts in seen:
                doubles.append(_hide(annotation, image, int(np.count_nonzero(piece.mask))))
                continue
            seen.add(facts)
            drawn.setdefault(place, []).append((annotation, piece))
        if covered > max(_MOST_COVERED * shape[0] * shape[1], _SMALL_PX):
            raise CellDataError(
                f"{image}: its annotations cover the image more than {_MOST_COVERED} times over; "
                "correct them, or leave the image out with --skip-bad."
            )
    return drawn, doubles


def _draw_pieces(
    annotation: Annotation,
    place: int,
    shape: tuple[int, int],
    image: str,
    split_pieces: bool,
    losses: list[Loss],
) -> list[Crop]:
    """Draw an annotation: nothing, one piece or, where it is to be split, its connected pieces."""
    crop = _draw(annotation, place, shape, image, losses)
    if crop is None:
        return []
    pieces = cut_pieces(crop) if split_pieces and place != IGNORED else [crop]
    if len(pieces) > 1:
        named = (image, annotation.label, annotation.class_name)
        losses.append(Loss("change", *named, "each of its pieces became a cell"))
    return pieces


def _paint_layers(
    drawn: _Drawn, shape: tuple[int, int], image: str, losses: list[Loss]
) -> PaintedImage:
    """Paint a label map for each class; the crops of a class are let go once it is painted."""
    painted = PaintedImage({}, {}, losses)
    kind = np.uint16 if sum(map(len, drawn.values())) < 2**16 else np.uint32
    next_id = 1
    for place in sorted(drawn, key=lambda index: (index == IGNORED, index)):
        layer = np.zeros(shape, dtype=kind)
        own = drawn.pop(place)
        visible = _paint_layer(layer, [crop for _, crop in own])
        painted.losses += _account(own, visible, image, place == IGNORED)
        ids = np.zeros(len(own) + 1, dtype=kind)
        kept = np.flatnonzero(visible) + 1
        ids[kept] = np.arange(next_id, next_id + len(kept))
        painted.layers[place] = ids[layer]
        painted.counts[place] = len(kept)
        next_id += len(kept)
    return painted


def _draw(
    annotation: Annotation, place: int, shape: tuple[int, int], image: str, losses: list[Loss]
) -> Crop | None:
    """Draw one annotation, or note why it is left out."""
    facts = (image, annotation.label, annotation.class_name)
    if annotation.left_out and place != IGNORED:
        losses.append(Loss("cell", *facts, annotation.left_out))
        return None
    if place == LEFT_OUT:
        reason = f"its class {annotation.class_name!r} is left out"
        losses.append(Loss("cell", *facts, reason))
        return None
    try:
        drawing = annotation.draw(*shape)
    except UnusableAnnotationError as error:
        losses.append(Loss("cell", *facts, str(error)))
        return None
    losses += [Loss("change", *facts, change) for change in drawing.changes]
    return drawing.crop


def _paint_layer(layer: NDArray[Any], crops: list[Crop]) -> NDArray[np.int64]:
    """Paint crop i as i + 1, smaller ones over larger ones; returns the pixels (N,) each shows."""
    areas = np.array([np.count_nonzero(crop.mask) for crop in crops])
    for index in np.lexsort((-np.arange(len(crops)), -areas)).tolist():
        mask, x0, y0 = crops[index]
        height, width = mask.shape
        layer[y0 : y0 + height, x0 : x0 + width][mask] = index + 1
    return np.bincount(layer.ravel(), minlength=len(crops) + 1)[1:]


def _account(
    own: list[tuple[Annotation, Crop]], visible: NDArray[np.int64], image: str, is_ignored: bool
) -> list[Loss]:
    """List the cells of a layer that lost pixels to others."""
    losses = []
    for (annotation, crop), left in zip(own, visible.tolist(), strict=True):
        lost = int(np.count_nonzero(crop.mask)) - left
        if not lost or (is_ignored and left):
            continue  # what two regions to ignore share stays ignored
        facts = (image, annotation.label, annotation.class_name)
        if is_ignored:
            losses.append(Loss("change", *facts, "a region to ignore lies within others"))
        elif left:
            losses.append(Loss("change", *facts, "pixels lost to a smaller cell", lost))
        else:
            losses.append(_hide(annotation, image, lost))
    return losses


def _hide(annotation: Annotation, image: str, lost: int) -> Loss:
    """Say that an annotation of so many pixels shows none of them."""
    reason = "hidden by cells of its class that are as small or smaller"
    return Loss("cell", image, annotation.label, annotation.class_name, reason, lost)
