"""The processes of benchmarks/prediction.py run and print what the page needs."""

import sys
from pathlib import Path

import numpy as np
import prediction
import pytest
from prediction_parts import page
from prediction_parts.agreement import are_same, compare_cells

from cellseg.structures.rle import encode_crop

ROOT = Path(__file__).resolve().parents[1]


def test_make_row_when_a_case_has_parts_then_shows_time_per_megapixel_and_ratio():
    row = {
        "name": "R18, 2",
        "seconds": [1.0, 2.0, 3.0],
        "cells": 1500,
        "peak_gb": 0.5,
        "ratios": [1.25],
    }
    shown = page.make_row(row, megapixels=4.0)
    assert shown == ["R18", "2", "1,500", "2 [1 - 3]", "0.5", "0.5", "1.25"]


def cells_at(*lefts: int, scores: list[float] | None = None) -> dict:
    """Return cells of 10 x 10 px in a row of an image of 20 x 200 px, as time_cellseg.py writes."""
    mask = np.ones((10, 10), dtype=bool)
    return {
        "boxes": [[left, 5, left + 10, 15] for left in lefts],
        "scores": scores or [0.9] * len(lefts),
        "labels": [0] * len(lefts),
        "rles": [encode_crop(mask, left, 5, 20, 200) for left in lefts],
    }


def test_compare_cells_when_they_are_in_another_order_then_they_are_the_same():
    compared = compare_cells(cells_at(0, 20, 60), cells_at(60, 0, 20))
    assert (compared["pairs"], compared["alike"], compared["iou"]) == (3, 3, 1.0)
    assert are_same(compared)


@pytest.mark.parametrize(
    "now",
    [
        cells_at(0, 21),  # a mask that moved
        cells_at(0),  # one that is missing
        cells_at(0, 20, 40),  # one more
        cells_at(0, 20, scores=[0.9, 0.902]),
        {**cells_at(0, 20), "labels": [0, 1]},
        cells_at(),
    ],
)
def test_compare_cells_when_something_differs_then_they_are_not_the_same(now):
    assert not are_same(compare_cells(cells_at(0, 20), now))


def test_list_targets_when_rows_are_of_the_old_script_then_compares_what_is_there():
    row = {"seconds": [2.0], "ratios": [1.2]}
    raw = {
        "R18, 1": row,
        "R18, 2": row,
        "nuclei-he at 1.0, 1": {"seconds": [0.9], "ratios": [1.4]},
        "nuclei-he at 1.0 with --amp, 1": {"seconds": [0.5], "ratios": []},
        "StarDist's network alone, 1": {"seconds": [0.7], "ratios": []},
    }
    assert page.list_targets(raw) == [
        ["R18: whole / network at most 1.3", "1.2", "yes"],
        ["nuclei-he at 1.0: whole / network at most 1.3", "1.4", "**no**"],
        ["nuclei-he at 1.0: less than StarDist's network alone", "0.9 s, StarDist 0.7 s", "**no**"],
        [
            "nuclei-he at 1.0 with --amp: less than StarDist's network alone",
            "0.5 s, StarDist 0.7 s",
            "yes",
        ],
    ]


def test_write_profile_when_parts_have_flops_then_shows_their_floor():
    measured = {
        "ms": {"backbone": [400.0], "masks to run lengths": [50.0]},
        "flops": {"backbone": 2e10},
        "rates": {"matrix product": 1e11, "convolution": 5e10},
    }
    text = page.write_profile({"models": {"R18": measured}})
    assert "| backbone | 0.4 (0.2) |" in text
    assert "| masks to run lengths | 0.05 |" in text


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
