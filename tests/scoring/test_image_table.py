"""The table of single images, against the scores of the whole set."""

import csv
import io

import numpy as np
import pytest
from numpy.typing import NDArray

from cellseg.scoring.counts import ImageCounts, count_scene
from cellseg.scoring.image_table import AVERAGED, COLUMNS, POOLED, write_image_table
from cellseg.scoring.scene import build_scene
from cellseg.scoring.scores import compute_scores, score_image
from cellseg.structures.cells import Cells

NAMES = ("round", "long")


def draw_map(seed: int, absent: bool = False) -> NDArray[np.int64]:
    """Draw blocks of 5 px, or none."""
    rng = np.random.default_rng(seed)
    blocks = np.zeros((4, 6)) if absent else rng.integers(0, 7, (4, 6))
    return np.kron(blocks, np.ones((5, 5))).astype(np.int64)


def hold(first: NDArray[np.int64], second: NDArray[np.int64]) -> Cells:
    """Hold the cells of two classes."""
    maps = (first, second)
    return Cells.concatenate([Cells.from_label_map(m, k, NAMES) for k, m in enumerate(maps)])


def count(seed: int, **absent: bool) -> ImageCounts:
    """Count an image whose ground truth or predictions of class 1 may be absent."""
    truth = hold(draw_map(seed), draw_map(seed + 1, absent.get("truth", False)))
    found = hold(draw_map(seed)[:, ::-1], draw_map(seed + 2, absent.get("found", False)))
    return count_scene(build_scene(truth, found, len(NAMES)))


def read_rows(text: str) -> list[dict[str, str]]:
    """Read the table back."""
    return list(csv.DictReader(io.StringIO(text)))


def test_write_image_table_when_pooled_and_averaged_then_equal_to_the_scores_of_the_set() -> None:
    counts = [count(0), count(10, truth=True), count(20, found=True), count(30)]
    rows = read_rows(write_image_table(counts, "abcd", NAMES))
    scores = compute_scores(counts, NAMES, with_ap=True)
    for group in (*scores.classes, scores.any_class):
        own = {row["image"]: row for row in rows if row["class"] == group.name}
        assert [*own] == [*"abcd", POOLED, AVERAGED]
        assert int(own[POOLED]["cells"]) == sum(int(own[name]["cells"]) for name in "abcd")
        for column in COLUMNS:
            assert float(own[POOLED][column]) == pytest.approx(group.values[column], abs=1e-6)
        for column in ("PQ", "AJI", "Dice", "AP_50", "AP_75"):
            mean = group.values[f"{column}_image_mean"]
            assert float(own[AVERAGED][column]) == pytest.approx(mean, abs=1e-6)


def test_write_image_table_when_a_class_is_absent_then_zero_if_predicted_and_empty_if_not() -> None:
    counts = [count(0, truth=True), count(10, truth=True, found=True)]
    rows = read_rows(write_image_table(counts, "ab", NAMES))
    predicted, nothing, pooled, averaged = (row for row in rows if row["class"] == "long")
    assert {predicted[column] for column in COLUMNS} == {"0.000000"}
    assert int(predicted["predicted"]) > 0
    assert {row[column] for row in (nothing, pooled, averaged) for column in COLUMNS} == {""}


def test_write_image_table_when_there_is_one_class_then_all_cells_have_no_rows_of_their_own() -> (
    None
):
    cells = Cells.from_label_map(draw_map(0), 0, ("cell",))
    counts = [count_scene(build_scene(cells, cells, 1))]
    rows = read_rows(write_image_table(counts, ["a"], ["cell"]))
    assert [(row["image"], row["class"]) for row in rows] == [
        ("a", "cell"),
        (POOLED, "cell"),
        (AVERAGED, "cell"),
    ]
    assert {row[column] for row in rows for column in COLUMNS} == {"1.000000"}


def test_write_image_table_when_there_is_no_image_then_the_last_rows_are_empty() -> None:
    rows = read_rows(write_image_table([], [], NAMES))
    assert {row["image"] for row in rows} == {POOLED, AVERAGED}
    assert {row[column] for row in rows for column in COLUMNS} == {""}


def test_score_image_when_it_is_the_only_one_then_its_scores_are_those_of_the_set() -> None:
    image = count(0)
    scores = compute_scores([image], NAMES, with_ap=True)
    for alone, group in zip(
        score_image(image, NAMES), (*scores.classes, scores.any_class), strict=True
    ):
        assert alone == group
