"""The data folder that a person takes away: reviewed regions as crops to train on."""

from __future__ import annotations

import io
import math
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from cellseg.datasets.folder_facts import FACTS_NAME, FolderFacts, write_folder_facts
from cellseg.errors import CellsegError
from cellseg.formats.conversion.drawing import draw_polygons
from cellseg.web.edit_log import Outline, PageCell
from cellseg.web.page_images import OpenImage
from cellseg.web.rings import decode_rings

_PART_PX = 1024  # largest side of a part that one crop is made of
_LEAST_SIDE_PX = 256  # of a crop, where the image has it: networks know little of smaller ones
_MARGIN_PX = 16  # around a reviewed region, so that cells at its edge are whole
_FEWEST_PARTS = 5  # of which a fifth validates


Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels of the image, x2 and y2 exclusive."""


@dataclass(frozen=True)
class ReviewedImage:
    """An image with reviewed regions, and the cells that are shown in it."""

    stem: str
    opened: OpenImage
    cells: Sequence[PageCell]
    regions: Sequence[Outline]


def write_training_data(
    images: Sequence[ReviewedImage], class_names: Sequence[str], file: BinaryIO
) -> int:
    """Write a data folder that `cellseg train --from MODEL --data FOLDER` takes, as a ZIP.

    Each reviewed region becomes crops with a label map per class; what was not reviewed in a crop
    is in its ignore.tif, so that cells missed there do not count as background. Of five crops and
    more, a fifth validates. Fewer ones all train, except for a quarter of each, which validates.

    Args:
        images: The images.
        class_names: The classes.
        file: Where the ZIP is written.

    Returns:
        How many crops there are.

    Raises:
        CellsegError: If no region is reviewed.
    """
    parts = [(image, box) for image in images for box in _cut_regions(image)]
    if not parts:
        raise CellsegError(
            "No region is reviewed; mark those that you have checked (key R), then train on them."
        )
    root, kinds = "training-data", [""] * len(parts)
    if len(parts) < _FEWEST_PARTS:  # all train, and a quarter of each validates
        kinds = ["train/", "val/"] * len(parts)
        parts = [(image, part) for image, box in parts for part in _take_quarter(box)]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        sizes = {image.opened.pixel_size_um for image, _ in parts}
        size = sizes.pop() if len(sizes) == 1 else None
        for kind in sorted(set(kinds)):
            archive.writestr(f"{root}/{kind}{FACTS_NAME}", _write_facts(class_names, size))
        for number, (kind, (image, box)) in enumerate(zip(kinds, parts, strict=True), 1):
            folder = f"{root}/{kind}{image.stem}_{number:03d}"
            for name, values in _make_crop(image, box, len(class_names)):
                content = io.BytesIO()
                photometric = "rgb" if values.ndim == 3 else "minisblack"
                tifffile.imwrite(content, values, photometric=photometric, compression="zlib")
                archive.writestr(f"{folder}/{name}", content.getvalue())
    return len(parts)


def _write_facts(class_names: Sequence[str], pixel_size_um: float | None) -> bytes:
    """Write dataset.json."""
    with tempfile.TemporaryDirectory() as aside:
        write_folder_facts(Path(aside), FolderFacts(tuple(class_names), "rgb", pixel_size_um))
        return (Path(aside) / FACTS_NAME).read_bytes()


def _cut_regions(image: ReviewedImage) -> Iterator[Box]:
    """Cut the boxes of reviewed regions into parts; one crop is made of each."""
    width, height = image.opened.pyramid.width, image.opened.pyramid.height
    for region in image.regions:
        points = np.array(region)
        low = np.floor(points.min(axis=0)).clip(0, (width - 1, height - 1)).astype(int)
        high = np.ceil(points.max(axis=0)).clip(low + 1, (width, height)).astype(int)
        across, down = (math.ceil(side / _PART_PX) for side in (high - low).tolist())
        xs = np.linspace(low[0], high[0], across + 1).astype(int).tolist()
        ys = np.linspace(low[1], high[1], down + 1).astype(int).tolist()
        for y1, y2 in pairwise(ys):
            for x1, x2 in pairwise(xs):
                yield x1, y1, x2, y2


def _take_quarter(box: Box) -> tuple[Box, Box]:
    """Cut a box across its longer side, so that the second part has about a quarter of it."""
    x1, y1, x2, y2 = box
    if x2 - x1 >= y2 - y1:
        x = x2 - (x2 - x1) // 4
        return (x1, y1, x, y2), (x, y1, x2, y2)
    y = y2 - (y2 - y1) // 4
    return (x1, y1, x2, y), (x1, y, x2, y2)


def _surround(box: Box, width: int, height: int) -> Box:
    """Return the crop around a part of an image of some size: with a margin, and not too small."""
    sides = []
    for low, high, most in ((box[0], box[2], width), (box[1], box[3], height)):
        side = min(max(high - low + 2 * _MARGIN_PX, _LEAST_SIDE_PX), most)
        start = min(max((low + high - side) // 2, 0), most - side)
        sides.append((start, start + side))
    (x1, x2), (y1, y2) = sides
    return x1, y1, x2, y2


def _make_crop(
    image: ReviewedImage, part: Box, num_classes: int
) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Make the files of a part's crop: the image, label maps, and what is not to be learned.

    A cell belongs to the part that has most of it. The others are ignored as a whole.
    """
    pyramid = image.opened.pyramid
    box = _surround(part, pyramid.width, pyramid.height)
    x1, y1, x2, y2 = box
    shape = (y2 - y1, x2 - x1)
    pixels = pyramid.read(x1, y1, x2 - x1, y2 - y1)
    yield "image.tif", np.ascontiguousarray(pixels[..., ::-1])
    known = _draw_reviewed(image.regions, part, box)
    taught = known.copy()
    labels = np.zeros((num_classes, *shape), dtype=np.uint16)
    others = np.zeros_like(known)
    inside = [c for c in image.cells if _meets(c.box, box)]
    for number, cell in enumerate(inside, 1):
        crop = decode_rings(cell.rings)
        area = crop.mask.sum()
        drawn = crop.window(*box)
        if 2 * (drawn & taught).sum() >= max(area, 1):
            labels[cell.label][drawn & (labels[cell.label] == 0)] = number
            known |= drawn
        else:
            others |= drawn
    known &= ~others | (labels > 0).any(axis=0)
    for index, label_map in enumerate(labels, 1):
        yield f"class{index}.tif", label_map
    if not known.all():
        yield "ignore.tif", (~known).astype(np.uint8)


def _draw_reviewed(regions: Sequence[Outline], part: Box, box: Box) -> NDArray[np.bool_]:
    """Draw what was reviewed of a part into a box around it."""
    x1, y1, x2, y2 = box
    reviewed = np.zeros((y2 - y1, x2 - x1), dtype=bool)
    for region in regions:
        reviewed |= _draw_region([[x - x1, y - y1] for x, y in region], *reviewed.shape)
    inside = np.zeros_like(reviewed)
    inside[part[1] - y1 : part[3] - y1, part[0] - x1 : part[2] - x1] = True
    return reviewed & inside


def _draw_region(points: list[list[float]], height: int, width: int) -> NDArray[np.bool_]:
    """Draw an outline that may lie outside."""
    try:
        crop = draw_polygons([[points]], height, width).crop
    except CellsegError:
        return np.zeros((height, width), dtype=bool)
    return crop.window(0, 0, width, height)


def _meets(one: Sequence[int], two: Sequence[int]) -> bool:
    """Return whether two boxes share a pixel."""
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]
