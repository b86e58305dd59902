"""Judging leaves the process as it found it; the figures are tested with CellMetric."""

import gc

import numpy as np
import pytest

from cellseg.scoring import average_precision
from cellseg.scoring.results import ImageResult
from cellseg.structures.cells import Cells


@pytest.fixture
def result() -> ImageResult:
    """Return an image without cells."""
    return ImageResult(0, 8, 8, Cells.empty(8, 8, ()), Cells.empty(8, 8, ()))


@pytest.mark.parametrize("is_enabled", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_judging_when_done_or_failed_then_garbage_collection_is_as_before(
    monkeypatch, result, is_enabled, fails
):
    def evaluate(*_):
        assert not gc.isenabled()
        if fails:
            raise ValueError("no good")
        return np.full((10, 101, 1, 4), -1.0), np.full((10, 1, 4), -1.0)

    monkeypatch.setattr(average_precision, "_evaluate", evaluate)
    try:
        if not is_enabled:
            gc.disable()
        try:
            average_precision.compute_average_precision([result], ["cell"])
        except ValueError:
            assert fails
        assert gc.isenabled() is is_enabled
    finally:
        gc.enable()
