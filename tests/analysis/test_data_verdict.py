"""What is said of a data set before training."""

import numpy as np
import pytest

from cellseg.analysis.data_report import CellFacts, DataFacts, ImageFacts
from cellseg.analysis.data_verdict import judge_data


def make_facts(
    counts=((120, 120), (120, 120)), parts=None, contrast=20.0, areas=200, pieces=1
) -> DataFacts:
    """Make images with cells of two classes, a row of counts for each."""
    rows = [
        (image, label)
        for image, row in enumerate(counts)
        for label, count in enumerate(row)
        for _ in range(count)
    ]
    table = np.array(rows, dtype=np.int64).reshape(-1, 2)
    size = len(table)
    sizes = np.full(size, areas, np.int64)
    cells = CellFacts(
        images=table[:, 0],
        labels=table[:, 1],
        boxes_xyxy=np.tile([0, 0, 10, 10], (size, 1)),
        areas=sizes,
        pieces=np.full(size, pieces, np.int64),
        holes=np.zeros(size, np.int64),
        at_border=np.zeros(size, bool),
        ids=np.arange(size),
        files=["class1.tif"] * size,
    )
    images = tuple(ImageFacts(f"i{k}", 99, 99, 1, 0, contrast) for k in range(len(counts)))
    indices = {name: np.array(part) for name, part in (parts or {"val": [1]}).items()}
    return DataFacts(("a", "b"), images, cells, indices, 10)


def test_verdict_when_nothing_is_wrong_then_says_so_in_one_line():
    verdict = judge_data(make_facts())
    assert verdict.lines == ["The 2 images with 480 cells look fine."]
    assert not verdict.must_not_train


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (make_facts(((120, 20), (120, 20))), "class b has 40 cells"),
        (make_facts(((120, 0), (120, 0))), "class b has no cell"),
        (make_facts(((120, 120), (20, 20))), "hold only 40 cells"),
        (make_facts(((120, 120), (120, 120), (0, 0))), "1 of 3 images have no cell (i2)"),
        (make_facts(areas=5), "fewer than 10 px"),
        (make_facts(pieces=3), "several pieces"),
    ],
)
def test_verdict_when_something_is_doubtful_then_warns_and_lets_train(facts, reason):
    verdict = judge_data(facts)
    assert [reason in line for line in verdict.warnings] == [True]
    assert not verdict.must_not_train
    assert "look at this first" in verdict.lines[0]


def test_verdict_when_images_differ_in_magnification_then_warns():
    facts = make_facts()
    facts.cells.areas[facts.cells.images == 1] = 200 * 25
    assert "5.0 times as wide" in judge_data(facts).warnings[0]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (make_facts(((0, 0), (0, 0))), "no cell at all"),
        (make_facts(contrast=-20.0), "Red and blue"),
    ],
)
def test_verdict_when_training_would_be_worthless_then_forbids_it(facts, reason):
    verdict = judge_data(facts)
    assert verdict.must_not_train
    assert reason in verdict.warnings[0]
    assert verdict.lines[0].startswith("Correct this before training")
