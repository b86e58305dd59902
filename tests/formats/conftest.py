"""Helpers to convert a source and look at the layout that comes out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellseg.formats.conversion import Source, convert
from cellseg.formats.conversion.names import settle_classes
from cellseg.formats.conversion.summary import ConversionReport


@pytest.fixture
def run(tmp_path) -> Callable[..., ConversionReport]:
    """Return a function that converts a source into tmp_path / 'out'."""

    def call(
        source: Source, skip_bad: bool = False, split_pieces: bool = False, **classes
    ) -> ConversionReport:
        table = settle_classes(source, **classes)
        options = {"skip_bad": skip_bad, "split_pieces": split_pieces}
        return convert(source, table, tmp_path / "out", **options)

    return call


@pytest.fixture
def read(tmp_path) -> Callable[[str], np.ndarray]:
    """Return a function that reads a file of the output folder."""
    return lambda name: tifffile.imread(tmp_path / "out" / name)


@pytest.fixture
def draw_picture() -> Callable[..., Path]:
    """Return a function that writes a grey TIFF of (height, width)."""

    def draw(path: Path, shape: tuple[int, int] = (20, 30)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, np.arange(np.prod(shape), dtype=np.uint16).reshape(shape))
        return path

    return draw


@pytest.fixture
def write_objects(tmp_path, draw_picture) -> Callable[..., tuple[Path, Path]]:
    """Return a function that writes an image of 20 x 30 pixels and its GeoJSON."""

    def call(document: Any, name: str = "a.geojson") -> tuple[Path, Path]:
        draw_picture(tmp_path / "images" / "a.tif")
        (tmp_path / "geojson").mkdir(exist_ok=True)
        text = document if isinstance(document, str) else json.dumps(document)
        (tmp_path / "geojson" / name).write_text(text)
        return tmp_path / "images", tmp_path / "geojson"

    return call


def reasons(report: ConversionReport) -> list[tuple[str, str]]:
    """Return kind and reason of everything that was left out or changed."""
    return [(loss.kind, loss.reason) for loss in report.losses]
