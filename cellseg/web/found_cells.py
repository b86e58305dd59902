"""The cells found in one image, as the page shows and hands them out at any threshold."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cellseg.formats.outputs import FORMATS
from cellseg.formats.tables import Table, measure_cells, write_csv_table
from cellseg.images import ArraySource
from cellseg.palette import Color
from cellseg.structures.cells import Cells
from cellseg.visualization.overlays import draw_outlines
from cellseg.visualization.panels import resize_for_display
from cellseg.web.uploads import UploadedImage

DOWNLOADS = {"labels": "Label TIFF", "geojson": "GeoJSON", "csv": "CSV"}
"""Formats that can be downloaded, as `outputs.FORMATS` names them, and their names for people."""

TABLE_COLUMNS = {
    "cell": "cell",
    "class": "class",
    "score": "score",
    "area_px": "area (px)",
    "centroid_x_px": "x (px)",
    "centroid_y_px": "y (px)",
}
"""Columns of the measurements that the page shows, and their names for people."""

_SHOWN_SIDES_PX = (768, 2048)  # shorter images are enlarged for display, longer ones shrunk


class ClassCount(NamedTuple):
    """How many cells of a class there are, and the color it is drawn in."""

    name: str
    cells: int
    color: Color


@dataclass(frozen=True, eq=False)
class FoundCells:
    """An image and its cells, measured.

    Attributes:
        name: The image's name, without folder and suffix.
        image: The image.
        cells: N cells, highest score first; N may be 0.
        table: Their measurements, N rows.
        palette: One color per class of the model.
        key: Names this result, in addresses.
    """

    name: str
    image: UploadedImage
    cells: Cells
    table: Table
    palette: Sequence[Color]
    key: str = field(default_factory=lambda: secrets.token_urlsafe(8))

    @classmethod
    def measured(
        cls, name: str, image: UploadedImage, cells: Cells, palette: Sequence[Color]
    ) -> FoundCells:
        """Measure the cells of an image."""
        source = ArraySource(image.pixels, image.pixel_size_um)
        return cls(name, image, cells, measure_cells(cells, source), palette)

    def at(self, score_thr: float) -> FoundCells:
        """Keep the cells that reach a score, renumbered, which needs no network."""
        keep = np.flatnonzero(self.cells.confidences >= np.float32(score_thr))
        table: Table = {
            name: [column[index] for index in keep.tolist()]
            if isinstance(column, list)
            else column[keep]
            for name, column in self.table.items()
        }
        table["cell"] = np.arange(1, len(keep) + 1)
        return replace(self, cells=self.cells[keep], table=table)

    def count_classes(self) -> list[ClassCount]:
        """Count the cells of every class that the model knows, those without a cell too."""
        names = self.cells.class_names
        counts = np.bincount(self.cells.labels, minlength=len(names)).tolist()
        return [ClassCount(*entry) for entry in zip(names, counts, self.palette, strict=True)]

    def rows(self, limit: int) -> list[list[object]]:
        """List the first cells for people, one row a cell in the order of TABLE_COLUMNS."""
        columns = [list(self.table[name][:limit]) for name in TABLE_COLUMNS]
        return [
            [int(cell), kind, f"{score:.3f}", int(area), round(float(x), 1), round(float(y), 1)]
            for cell, kind, score, area, x, y in zip(*columns, strict=True)
        ]

    def draw(self, with_scores: bool) -> NDArray[np.uint8]:
        """Draw every cell's outline in the color of its class.

        Args:
            with_scores: Write each cell's score beside it.

        Returns:
            (h, w, 3) uint8 R, G, B, of a size for screens.
        """
        shown, scale = resize_for_display(self.image.pixels[..., ::-1], *_SHOWN_SIDES_PX)
        cells = self.cells
        scores = cells.scores if with_scores else None
        return draw_outlines(shown, cells.crops(), cells.labels, self.palette, scores, scale)

    def encode_drawing(self, with_scores: bool) -> bytes:
        """Draw as `draw` does, as a PNG."""
        _, content = cv2.imencode(".png", self.draw(with_scores)[..., ::-1])
        return content.tobytes()

    def encode_download(self, kind: str, folder: Path) -> tuple[str, bytes]:
        """Write the cells in one of DOWNLOADS, as tools/predict.py writes them.

        Args:
            kind: Key of DOWNLOADS.
            folder: Where to write aside; nothing stays there.

        Returns:
            The file's name and content.
        """
        with tempfile.TemporaryDirectory(dir=folder) as aside:
            path = Path(aside) / f"{self.name}{FORMATS[kind].suffix}"
            if kind == "csv":
                write_csv_table(self.table, path)
            else:
                source = ArraySource(self.image.pixels, self.image.pixel_size_um)
                FORMATS[kind].write(self.cells, path, source, self.palette)
            return path.name, path.read_bytes()
