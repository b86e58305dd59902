"""Helpers to convert a source and look at the layout that comes out."""

from collections.abc import Callable
from pathlib import Path

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


def reasons(report: ConversionReport) -> list[tuple[str, str]]:
    """Return kind and reason of everything that was left out or changed."""
    return [(loss.kind, loss.reason) for loss in report.losses]
