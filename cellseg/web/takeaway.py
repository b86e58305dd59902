"""What a person takes away: the cells that are shown, as label TIFF, GeoJSON or CSV."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellseg.errors import CellsegError
from cellseg.formats.outputs import FORMATS
from cellseg.palette import Color
from cellseg.structures.cell_masks import CellMasks
from cellseg.structures.cells import Cells
from cellseg.web.edit_log import PageCell
from cellseg.web.page_images import OpenImage
from cellseg.web.rings import decode_rings
from cellseg.web.tile_pyramid import PyramidRegion

DOWNLOADS = ("labels", "geojson", "csv")
"""Formats that can be downloaded, as `outputs.FORMATS` names them."""


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
