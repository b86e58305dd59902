"""QuPath's GeoJSON: one detection a cell, outlined along pixel edges."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from cellseg.fileio import write_atomically
from cellseg.formats.outlines import Polygon, outline_masks
from cellseg.images import ImageSource
from cellseg.palette import Color, choose_palette
from cellseg.structures.cells import Cells

_NAMESPACE = uuid.UUID("6f3f0d0e-5f0e-4b53-9a0c-3a6f8c5f9b1d")  # any fixed one; ids stay the same


def cells_to_features(cells: Cells, palette: Sequence[Color] = ()) -> Iterator[dict[str, Any]]:
    """Turn cells into GeoJSON features as QuPath reads them (File > Import objects).

    Coordinates are pixels of the full-resolution image, which is what QuPath works in. Exteriors
    follow RFC 7946's right-hand rule. A cell of several pieces becomes a MultiPolygon.

    Args:
        cells: Cells of one image; may be empty.
        palette: One color per class; the default ones when empty.

    Yields:
        One feature per cell: geometry, class name and color, score and area as measurements.
    """
    colors = choose_palette(len(cells.class_names), palette)
    outlines = outline_masks(cells.get_masks())
    for index, (pieces, label, score) in enumerate(
        zip(outlines, cells.labels.tolist(), cells.confidences.tolist(), strict=True)
    ):
        identity = uuid.uuid5(_NAMESPACE, f"{index}:{label}:{cells.rles[index]['counts']}")
        yield {
            "type": "Feature",
            "id": str(identity),
            "geometry": _geometry(pieces, cells.downsample),
            "properties": {
                "objectType": "detection",
                "classification": {
                    "name": cells.class_names[label],
                    "color": list(colors[label]),
                },
                "measurements": {"score": round(score, 6)},
            },
        }


def write_geojson(
    cells: Cells, path: str | Path, image: ImageSource | None = None, palette: Sequence[Color] = ()
) -> dict[str, Any]:
    """Write a GeoJSON FeatureCollection, cell after cell; see `cells_to_features`.

    Args:
        cells: Cells of one image; may be empty.
        path: The file.
        image: Not used: the signature is that of every writer.
        palette: One color per class; the default ones when empty.

    Returns:
        Nothing to note.
    """

    def write(file: BinaryIO) -> None:
        encode = json.JSONEncoder(separators=(",", ":")).encode
        file.write(b'{"type":"FeatureCollection","features":[')
        separator = b"\n"
        for feature in cells_to_features(cells, palette):
            file.write(separator + encode(feature).encode())
            separator = b",\n"
        file.write(b"\n]}\n")

    write_atomically(path, write)
    return {}


def _geometry(pieces: Sequence[Polygon], downsample: float) -> dict[str, Any]:
    """Turn the pieces of a cell into a Polygon or MultiPolygon."""
    polygons = []
    for piece in pieces:
        rings = []
        for ring in (piece.exterior, *piece.holes):
            corners = (ring if downsample == 1 else ring * downsample).tolist()
            corners.append(corners[0])
            rings.append(corners)
        polygons.append(rings)
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}
