"""The processes of benchmarks/prediction.py run and print what the page needs."""

import sys
from pathlib import Path

import numpy as np
import prediction
import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_make_row_when_a_case_has_parts_then_shows_time_per_megapixel_and_ratio():
    row = {
        "name": "R18, 2",
        "seconds": [1.0, 2.0, 3.0],
        "cells": 1500,
        "peak_gb": 0.5,
        "ratios": [1.25],
    }
    shown = prediction.make_row(row, megapixels=4.0)
    assert shown == ["R18", "2", "1,500", "2 [1 - 3]", "0.5", "0.5", "1.25"]


@pytest.mark.slow
def test_run_case_when_a_shipped_model_predicts_then_gives_seconds_and_parts(tmp_path):
    np.save(tmp_path / "image.npy", np.full((128, 160, 3), 230, np.uint8))
    case = {
        "script": "time_cellseg.py",
        "python": sys.executable,
        "tree": str(ROOT),
        "config": "nuclei-cc0",
        "checkpoint": None,
        "image": str(tmp_path / "image.npy"),
        "scale": 1.0,
        "repeats": 1,
        "threads": 1,
        "parts": True,
        "amp": False,
    }
    result = prediction.run_case(case)
    assert result["cells"] == 0
    assert len(result["seconds"]) == 1
    assert set(result["parts"]) == {"backbone, neck, RPN", "box head", "mask head"}
