"""Predictions from files of any kind: which reader takes them, and what is refused."""

from pathlib import Path

import pytest
import tifffile

from cellseg.errors import CellsegError
from cellseg.formats.prediction_files import read_predictions
from tests.formats.drawn_truth import IMAGES, NAMES, draw_labels


def test_read_predictions_when_there_is_nothing_to_read_then_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    tifffile.imwrite(tmp_path / "odd" / "cells.tif", draw_labels())
    (tmp_path / "results.txt").write_text("[]")
    for name, message in (
        ("empty", "holds no label TIFF"),
        ("odd", "none of its 1 TIFFs"),
        ("none.json", "no predictions at"),
        ("results.txt", "a folder of label TIFFs or a COCO result"),
    ):
        with pytest.raises(CellsegError, match=message):
            read_predictions(tmp_path / name, IMAGES, NAMES)
    with pytest.raises(CellsegError, match="no file is called"):
        read_predictions(tmp_path / "odd", IMAGES, NAMES, "{image}/x.tif")


def test_read_predictions_when_given_a_pickle_then_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "results.pkl"
    path.write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    with pytest.raises(CellsegError, match=r"can run code.*results\.segm\.json"):
        read_predictions(path, IMAGES, NAMES)
