"""Confusion of drawn cells."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from cellseg.analysis.confusion import Confusion, confuse_outcomes, confuse_results
from cellseg.scoring.outcomes import classify_cells
from cellseg.scoring.results import ImageResult
from cellseg.scoring.scene import build_scene
from cellseg.structures.cells import Cells
from cellseg.structures.rle import RLE, encode_label_map


def row_of_cells(*columns: int) -> list[RLE]:
    """Encode 4 x 4 cells in the given of ten places."""
    rles = []
    for column in columns:
        label_map = np.zeros((6, 60), dtype=np.int64)
        label_map[1:5, 6 * column + 1 : 6 * column + 5] = 1
        rles += encode_label_map(label_map)[3]
    return rles


def hold(rles: list[RLE], labels: list[int], scores: list[float] | None = None) -> Cells:
    """Hold masks of the test images."""
    return Cells.from_rles(rles, 6, 60, labels, scores)


def confuse_image(
    truth: Cells, found: Cells, num_classes: int, iou_thr: float = 0.5
) -> NDArray[np.int64]:
    """Count the confusion of one image."""
    outcomes = classify_cells(build_scene(truth, found, num_classes), iou_thr)
    return confuse_outcomes([outcomes], [str(k) for k in range(num_classes)]).counts


def test_confuse_image_when_cells_are_swapped_missed_and_false_positive_then_each_counts_once() -> (
    None
):
    truth = hold(row_of_cells(0, 1, 2, 3), [0, 0, 1, 1])
    found = hold(row_of_cells(0, 1, 2, 7), [0, 1, 1, 1], [0.9] * 4)
    counts = confuse_image(truth, found, 2)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 1], [0, 1, 0]]


def test_confuse_image_when_two_classes_claim_a_cell_then_the_better_score_is_matched() -> None:
    truth = hold(row_of_cells(0), [0])
    for scores, expected in (([0.9, 0.8], [1, 0]), ([0.8, 0.9], [0, 1])):
        found = hold(row_of_cells(0, 0), [0, 1], scores)
        counts = confuse_image(truth, found, 2)
        assert counts[0].tolist() == [*expected, 0]
        assert counts[2].tolist() == [*expected[::-1], 0]


def test_confuse_image_when_false_positives_are_ignored_or_unsure_then_not_counted() -> None:
    truth = hold(row_of_cells(0), [0])
    found = hold(row_of_cells(4, 5, 6), [0, 0, 0], [0.9, 0.4, 0.9])
    region = replace(hold(row_of_cells(4), [-1]), ignored=np.ones(1, bool))
    counts = confuse_image(Cells.concatenate([truth, region]), found, 1)
    assert counts.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_confuse_image_when_summed_then_rows_are_the_cells_and_columns_the_predictions(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    gt, pred = (np.kron(rng.integers(0, 9, (6, 6)), np.ones((3, 3), int)) for _ in range(2))
    labels = [rng.integers(0, 3, len(np.unique(m[m > 0]))) for m in (gt, pred)]
    truth, found = (Cells.from_label_map(m, k) for m, k in zip((gt, pred), labels, strict=True))
    counts = confuse_image(truth, found, 3, iou_thr=0.1)
    assert counts.sum(axis=1)[:3].tolist() == np.bincount(labels[0], minlength=3).tolist()
    assert counts.sum(axis=0)[:3].tolist() == np.bincount(labels[1], minlength=3).tolist()


def result_of(label: int, pred_label: int) -> ImageResult:
    """Make an image of one cell and one prediction on it."""
    (rle,) = row_of_cells(0)
    instance = {"bbox": [1, 1, 5, 5], "bbox_label": label, "ignore_flag": 0, "mask": rle}
    found = hold([rle], [pred_label], [1.0])
    return ImageResult(7, 6, 60, found, Cells.from_instances([instance], 6, 60))


def test_confuse_results_when_images_are_summed_then_shares_are_of_the_row() -> None:
    confusion = confuse_results([result_of(0, 0), result_of(0, 1), result_of(0, 0)], ["a", "b"])
    assert confusion.counts.tolist() == [[2, 1, 0], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(confusion.shares[0], [2 / 3, 1 / 3, 0])
    assert np.isnan(confusion.shares[1:]).all()


def test_confuse_results_when_a_label_is_unknown_then_the_image_is_named() -> None:
    with pytest.raises(ValueError, match="Image 7: The prediction 0 has class 5"):
        confuse_results([result_of(0, 5)], ["a", "b"])


def test_to_csv_when_a_class_has_no_cell_then_its_shares_are_empty() -> None:
    counts: NDArray[np.int64] = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 0]])
    confusion = Confusion(("small, round", "b"), counts, 0.5, 0.5)
    assert confusion.to_csv().splitlines() == [
        'true \\ predicted,"small, round",b,missed',
        '"small, round",3,1,0',
        "b,0,0,0",
        "false positive,1,0,0",
    ]
    shares = confusion.to_csv(normalize=True).splitlines()
    assert shares[1:] == [
        '"small, round",0.750000,0.250000,0.000000',
        "b,,,",
        "false positive,1.000000,0.000000,0.000000",
    ]
