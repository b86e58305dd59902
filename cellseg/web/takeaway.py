"""What a person takes away: label TIFF, GeoJSON, CSV, and a folder to train on."""

from __future__ import annotations

import io
import math
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
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
from cellseg.formats.outputs import FORMATS
from cellseg.palette import Color
from cellseg.structures.cell_masks import CellMasks
from cellseg.structures.cells import Cells
from cellseg.structures.runs import Crop
from cellseg.web.edit_log import Outline, PageCell
from cellseg.web.page_images import OpenImage
from cellseg.web.rings import decode_rings
from cellseg.web.tile_pyramid import PyramidRegion

DOWNLOADS = ("labels", "geojson", "csv")
"""Formats that can be downloaded, as `outputs.FORMATS` names them."""

_CROP_PX = 1024  # largest side of a crop to train on
_LEAST_CUT_PX = 128  # shorter sides are cut only where they must be
_MARGIN_PX = 16  # around a reviewed region, so that cells at its edge are whole


@dataclass(frozen=True)
class CellFilter:
    """Which cells are shown, and so taken away.

    Attributes:
        score: Lowest score; cells that a person drew or corrected always pass.
        least_px: Smallest area in pixels.
        most_px: Largest area in pixels.
        labels: Classes; all when None.
    """

    score: float = 0.0
    least_px: float = 0.0
    most_px: float = math.inf
    labels: frozenset[int] | None = None

    @classmethod
    def read(cls, values: Mapping[str, str]) -> CellFilter:
        """Read a filter from an address.

        Raises:
            CellsegError: If a value is none.
        """
        try:
            numbers = {name: float(values[name]) for name in _NUMBERS if name in values}
            labels = None
            if "classes" in values:
                words = values["classes"].split(",") if values["classes"] else []
                labels = frozenset(int(word) for word in words[:1000])
        except ValueError as error:
            raise CellsegError("The filter must be made of numbers.") from error
        if any(math.isnan(number) for number in numbers.values()):
            raise CellsegError("The filter must be made of numbers.")
        return cls(
            numbers.get("score", 0.0),
            numbers.get("least", 0.0),
            numbers.get("most", math.inf),
            labels,
        )

    def keeps(self, cell: PageCell) -> bool:
        """Return whether a cell passes."""
        return (
            (cell.score is None or cell.score >= self.score)
            and self.least_px <= cell.area <= self.most_px
            and (self.labels is None or cell.label in self.labels)
        )


_NUMBERS = ("score", "least", "most")


def collect_cells(
    cells: Sequence[PageCell], opened: OpenImage, class_names: Sequence[str]
) -> Cells:
    """Make `Cells` of the page's cells, in the pixels of the image.

    Cells that a person drew or corrected have score 1.0.
    """
    width, height = opened.pyramid.width, opened.pyramid.height
    scores = [1.0 if cell.score is None else cell.score for cell in cells]
    return Cells(
        np.array([cell.box for cell in cells], dtype=np.float32).reshape(-1, 4),
        np.array(scores, dtype=np.float32),
        np.array([cell.label for cell in cells], dtype=np.int64),
        CellMasks.from_crops([decode_rings(cell.rings) for cell in cells], height, width),
        height,
        width,
        tuple(class_names),
        opened.pixel_size_um,
    )


def encode_download(
    kind: str,
    cells: Cells,
    opened: OpenImage,
    stem: str,
    palette: Sequence[Color],
) -> tuple[str, bytes]:
    """Write cells in one of DOWNLOADS, as `cellseg predict` writes them.

    Args:
        kind: One of DOWNLOADS.
        cells: From `collect_cells`.
        opened: The image.
        stem: The image's name, for the file's.
        palette: One color per class.

    Returns:
        The file's name and content.
    """
    box = (0, 0, opened.pyramid.width, opened.pyramid.height)
    source = PyramidRegion(opened.pyramid, box, opened.pixel_size_um)
    with tempfile.TemporaryDirectory() as aside:
        path = Path(aside) / f"{stem}{FORMATS[kind].suffix}"
        FORMATS[kind].write(cells, path, source, palette)
        return path.name, path.read_bytes()


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
    is in its ignore.tif, so that cells missed there do not count as background.

    Args:
        images: The images.
        class_names: The classes.
        file: Where the ZIP is written.

    Returns:
        How many crops there are.

    Raises:
        CellsegError: If no region is reviewed.
    """
    boxes = [(image, box) for image in images for box in _cut_regions(image)]
    if not boxes:
        raise CellsegError(
            "No region is reviewed; mark those that you have checked (key R), then train on them."
        )
    if len(boxes) == 1:  # most of it trains, a part validates
        boxes = [(boxes[0][0], part) for part in _quarter(boxes[0][1])]
    root = "training-data"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        sizes = {image.opened.pixel_size_um for image, _ in boxes}
        size = sizes.pop() if len(sizes) == 1 else None
        archive.writestr(f"{root}/{FACTS_NAME}", _write_facts(class_names, size))
        for number, (image, box) in enumerate(boxes, 1):
            for name, values in _make_crop(image, box, len(class_names)):
                content = io.BytesIO()
                photometric = "rgb" if values.ndim == 3 else "minisblack"
                tifffile.imwrite(content, values, photometric=photometric, compression="zlib")
                archive.writestr(f"{root}/{image.stem}_{number:03d}/{name}", content.getvalue())
    return len(boxes)


def _write_facts(class_names: Sequence[str], pixel_size_um: float | None) -> bytes:
    """Write dataset.json."""
    with tempfile.TemporaryDirectory() as aside:
        write_folder_facts(Path(aside), FolderFacts(tuple(class_names), "rgb", pixel_size_um))
        return (Path(aside) / FACTS_NAME).read_bytes()


Box = tuple[int, int, int, int]


def _cut_regions(image: ReviewedImage) -> Iterator[Box]:
    """Cut the boxes of reviewed regions into crops."""
    width, height = image.opened.pyramid.width, image.opened.pyramid.height
    for region in image.regions:
        points = np.array(region)
        low = np.floor(points.min(axis=0) - _MARGIN_PX).clip(0, None).astype(int)
        high = np.ceil(points.max(axis=0) + _MARGIN_PX).clip(None, (width, height)).astype(int)
        across, down = (math.ceil(side / _CROP_PX) for side in (high - low).tolist())
        xs = np.linspace(low[0], high[0], across + 1).astype(int).tolist()
        ys = np.linspace(low[1], high[1], down + 1).astype(int).tolist()
        for y1, y2 in pairwise(ys):
            for x1, x2 in pairwise(xs):
                yield x1, y1, x2, y2


def _quarter(box: Box) -> list[Box]:
    """Cut a box in four; a side too short to be cut stays whole where the other one is not."""
    x1, y1, x2, y2 = box
    is_wide, is_tall = x2 - x1 >= _LEAST_CUT_PX, y2 - y1 >= _LEAST_CUT_PX
    if not is_wide and not is_tall:
        is_wide, is_tall = x2 - x1 >= y2 - y1, x2 - x1 < y2 - y1
    xs = [x1, (x1 + x2) // 2, x2] if is_wide else [x1, x2]
    ys = [y1, (y1 + y2) // 2, y2] if is_tall else [y1, y2]
    return [
        (left, top, right, bottom) for top, bottom in pairwise(ys) for left, right in pairwise(xs)
    ]


def _make_crop(
    image: ReviewedImage, box: Box, num_classes: int
) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Make the files of one crop: the image, label maps, and what was not reviewed."""
    x1, y1, x2, y2 = box
    pixels = image.opened.pyramid.read(x1, y1, x2 - x1, y2 - y1)
    yield "image.tif", np.ascontiguousarray(pixels[..., ::-1])
    shape = (y2 - y1, x2 - x1)
    reviewed = np.zeros(shape, dtype=bool)
    for region in image.regions:
        moved = [[x - x1, y - y1] for x, y in region]
        with_part = _draw_region(moved, *shape)
        reviewed |= with_part
    labels = np.zeros((num_classes, *shape), dtype=np.uint16)
    known = reviewed.copy()
    inside = [c for c in image.cells if _meets(c.box, box)]
    for number, cell in enumerate(inside, 1):
        crop = decode_rings(cell.rings)
        part = _paste(Crop(crop.mask, crop.x0 - x1, crop.y0 - y1), shape)
        if 2 * (part & reviewed).sum() >= max(part.sum(), 1):
            labels[cell.label][part & (labels[cell.label] == 0)] = number
            known |= part
    for index, label_map in enumerate(labels, 1):
        yield f"class{index}.tif", label_map
    if not known.all():
        yield "ignore.tif", (~known).astype(np.uint8)


def _draw_region(points: list[list[float]], height: int, width: int) -> NDArray[np.bool_]:
    """Draw an outline that may lie outside."""
    try:
        crop = draw_polygons([[points]], height, width).crop
    except CellsegError:
        return np.zeros((height, width), dtype=bool)
    return _paste(crop, (height, width))


def _paste(crop: Crop, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Draw a crop, which may reach outside, into a box."""
    canvas = np.zeros(shape, dtype=bool)
    rows, columns = crop.mask.shape
    top, left = max(crop.y0, 0), max(crop.x0, 0)
    bottom, right = min(crop.y0 + rows, shape[0]), min(crop.x0 + columns, shape[1])
    if bottom > top and right > left:
        part = crop.mask[top - crop.y0 : bottom - crop.y0, left - crop.x0 : right - crop.x0]
        canvas[top:bottom, left:right] = part
    return canvas


def _meets(one: Sequence[int], two: Sequence[int]) -> bool:
    """Return whether two boxes share a pixel."""
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]
