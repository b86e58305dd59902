"""Figures of known value."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cellseg.scoring.counts import ImageCounts, count_scene
from cellseg.scoring.scene import build_scene
from cellseg.scoring.scores import compute_scores, format_scores
from cellseg.structures.cells import Cells

NAMES = ["epithelial", "lymphocyte"]
RADIUS = 10


def draw_disks(count: int, shift: int = 0) -> NDArray[np.int32]:
    """Draw disks in a row, each 30 px apart, all shifted in y."""
    y, x = np.mgrid[:60, : 30 * max(count, 1)]
    label_map = np.zeros(x.shape, dtype=np.int32)
    for number in range(count):
        label_map[(x - 15 - 30 * number) ** 2 + (y - 25 - shift) ** 2 <= RADIUS**2] = number + 1
    return label_map


def count_maps(
    gt: NDArray[np.int32],
    pred: NDArray[np.int32],
    gt_labels: list[int] | None = None,
    labels: list[int] | None = None,
) -> ImageCounts:
    """Count one image; all cells are of class 0 unless said."""
    sides = [
        Cells.from_label_map(label_map, 0 if given is None else given)
        for label_map, given in ((gt, gt_labels), (pred, labels))
    ]
    return count_scene(build_scene(*sides, num_classes=2))


def disk_iou(shift: int) -> float:
    """Compute the IoU of a drawn disk and itself shifted."""
    first, second = draw_disks(1) > 0, draw_disks(1, shift) > 0
    return float((first & second).sum() / (first | second).sum())


def test_compute_scores_when_prediction_is_perfect_then_every_figure_is_exactly_one() -> None:
    maps = [draw_disks(3), draw_disks(2)]
    counts = [count_maps(maps[0], maps[0], *2 * [[0, 1, 0]]), count_maps(maps[1], maps[1])]
    figures = compute_scores(counts, NAMES).to_dict()
    assert len(figures) == 4 * (9 + 30)
    assert {name for name, value in figures.items() if value != 1.0} == set()


@pytest.mark.parametrize("shift", [0, 2, 5])
def test_compute_scores_when_disks_are_shifted_then_sq_is_the_known_iou(shift: int) -> None:
    counts = [count_maps(draw_disks(3), draw_disks(3, shift))]
    values = compute_scores(counts, NAMES).classes[0].values
    iou = disk_iou(shift)
    assert values["DQ"] == values["F1_50"] == values["recall_50"] == 1
    assert values["PQ"] == values["SQ"] == pytest.approx(iou)
    assert values["AJI"] == pytest.approx(iou)
    assert values["Dice"] == pytest.approx(2 * iou / (1 + iou))
    for iou_thr in (0.6, 0.75, 0.9):
        assert values[f"F1_{100 * iou_thr:.0f}"] == float(iou > iou_thr)


def test_compute_scores_when_disks_are_shifted_too_far_then_nothing_matches() -> None:
    values = compute_scores([count_maps(draw_disks(3), draw_disks(3, 9))], NAMES).classes[0].values
    iou = disk_iou(9)
    assert 0 < iou < 0.5
    assert values["PQ"] == values["F1_50"] == values["precision_50"] == values["SQ"] == 0
    assert values["AJI"] == pytest.approx(iou)  # AJI knows no threshold


def test_compute_scores_when_cells_are_missed_or_false_then_f1_is_the_known_one() -> None:
    both = draw_disks(5)
    gt, pred = np.where(both == 5, 0, both), np.where(both <= 2, 0, both)
    values = (
        compute_scores([count_maps(gt, pred)], NAMES).classes[0].values
    )  # 2 found, 1 false, 2 missed
    assert values["F1_50"] == values["PQ"] == pytest.approx(2 / (2 + 0.5 + 1))
    assert values["precision_50"] == pytest.approx(2 / 3)
    assert values["recall_50"] == pytest.approx(2 / 4)
    assert values["AJI"] == pytest.approx(2 / 5)
    assert values["Dice"] == pytest.approx(4 / 7)


def test_compute_scores_when_an_image_lacks_a_class_then_false_positives_cost_there() -> None:
    good = count_maps(draw_disks(1), draw_disks(1))
    unmatched = count_maps(draw_disks(0), draw_disks(1)[:, :30])
    empty = count_maps(draw_disks(0), draw_disks(0))
    alone = compute_scores([good, empty], NAMES).classes[0].values
    assert alone["PQ_image_mean"] == alone["PQ"] == 1  # an image without the class says nothing
    both = compute_scores([good, empty, unmatched], NAMES).classes[0].values
    assert both["PQ_image_mean"] == both["AJI_image_mean"] == both["Dice_image_mean"] == 0.5
    assert both["DQ_image_mean"] == 0.5
    assert both["PQ"] == pytest.approx(1 / 1.5)


def test_compute_scores_when_pooled_and_image_mean_differ_then_both_are_the_known_ones() -> None:
    full = count_maps(draw_disks(9), draw_disks(9))
    missed = count_maps(draw_disks(1), draw_disks(0))
    values = compute_scores([full, missed], NAMES).classes[0].values
    assert values["PQ"] == pytest.approx(9 / 9.5)
    assert values["PQ_image_mean"] == 0.5


def test_compute_scores_when_a_class_has_no_cell_then_it_is_reported_and_left_out_of_the_mean() -> (
    None
):
    counts = [count_maps(draw_disks(2), draw_disks(2), [0, 0], [0, 1])]
    scores = compute_scores(counts, NAMES)
    absent = scores.classes[1]
    assert (absent.num_cells, absent.num_predicted, absent.values) == (0, 1, {})
    assert scores.means == scores.classes[0].values
    assert not [name for name in scores.to_dict() if name.startswith("lymphocyte")]
    assert scores.any_class.values["PQ"] == 1
    (line,) = (li for li in format_scores(scores).splitlines() if li.startswith("lympho"))
    assert line.split()[1:6] == ["0", "1", "no", "cell", "in"]


@pytest.mark.parametrize("num_images", [0, 2])
def test_compute_scores_when_there_is_no_cell_at_all_then_no_figure_but_a_table(
    num_images: int,
) -> None:
    scores = compute_scores([count_maps(draw_disks(0), draw_disks(0))] * num_images, NAMES)
    assert scores.to_dict() == {}
    assert format_scores(scores).count("no cell in the ground truth") == 4


def test_compute_scores_when_images_are_shuffled_then_figures_are_identical() -> None:
    rng = np.random.default_rng(3)
    counts = []
    for _ in range(30):
        gt = np.kron(rng.integers(0, 30, (8, 8)), np.ones((3, 3), int)).astype(np.int32)
        counts.append(count_maps(gt, (np.roll(gt, 1) * (rng.random(gt.shape) < 0.9))))
    first = compute_scores(counts, NAMES).to_dict()
    rng.shuffle(counts)
    assert compute_scores(counts, NAMES).to_dict() == first


def test_compute_scores_when_counts_are_of_other_classes_then_says_so() -> None:
    with pytest.raises(ValueError, match="1 classes and 10 IoU"):
        compute_scores([count_maps(draw_disks(1), draw_disks(1))], ["cell"])


def test_format_scores_when_printed_then_columns_line_up() -> None:
    counts = [count_maps(draw_disks(3), draw_disks(3, 2), [0, 1, 1], [0, 1, 0])]
    lines = format_scores(compute_scores(counts, NAMES)).splitlines()
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1


def test_compute_scores_when_real_labels_are_predicted_then_exactly_one(real_data: Path) -> None:
    folder = real_data / "hw3" / "train" / "hgsc_nest_1500"
    layers = []
    for label, name in enumerate(("class1", "class2", "class3", "class4")):
        if (folder / f"{name}.tif").exists():
            layer = tifffile.imread(folder / f"{name}.tif").astype(np.int64)
            layers.append(Cells.from_label_map(layer, label))
    cells = Cells.concatenate(layers)
    scores = compute_scores([count_scene(build_scene(cells, cells, 4))], ["1", "2", "3", "4"])
    assert set(scores.to_dict().values()) == {1.0}
    assert scores.any_class.num_cells == 1294


def test_compute_scores_when_tissues_are_given_then_as_pannuke_averages() -> None:
    """PanNuke's own rule, in plain loops: classes of an image, images of a tissue, tissues."""
    maps = [
        (draw_disks(3), draw_disks(3, 2), [0, 0, 1], [0, 1, 1]),
        (draw_disks(2), draw_disks(2, 1), [0, 0], [0, 0]),
        (draw_disks(0), draw_disks(1), [], [0]),  # no cell: the image does not count
        (draw_disks(2), draw_disks(2, 4), [1, 1], [1, 1]),
    ]
    tissues = ["colon", "breast", "breast", "colon"]
    counts = [count_maps(*one) for one in maps]
    per_tissue: dict[str, list[tuple[float, float]]] = {}
    for (gt, pred, gt_labels, labels), tissue in zip(maps, tissues, strict=True):
        values = compute_scores([count_maps(gt, pred, gt_labels, labels)], NAMES)
        if gt_labels:
            present = [values.classes[k].values["PQ"] for k in sorted(set(gt_labels))]
            both = float(np.mean(present)), values.any_class.values["PQ"]
            per_tissue.setdefault(tissue, []).append(both)
    expected = np.mean([np.mean(own, axis=0) for own in per_tissue.values()], axis=0)
    scores = compute_scores(counts, NAMES, tissues=tissues)
    assert scores.means["PQ_tissue_mean"] == pytest.approx(expected[0], abs=1e-12)
    assert scores.any_class.values["PQ_tissue_mean"] == pytest.approx(expected[1], abs=1e-12)
    assert scores.to_dict()["mPQ_tissue_mean"] == scores.means["PQ_tissue_mean"]
    assert "mPQ_tissue_mean" not in compute_scores(counts, NAMES).to_dict()
    with pytest.raises(ValueError, match="4 images came with 1 tissues"):
        compute_scores(counts, NAMES, tissues=["colon"])


def test_compute_scores_when_ap_is_asked_for_then_pooled_and_image_mean_are_the_known_ones() -> (
    None
):
    three, two = draw_disks(3), draw_disks(2)
    counts = [
        count_maps(three, np.where(three == 1, 1, 0)),
        count_maps(np.where(two == 2, 2, 0), two),
    ]
    values = compute_scores(counts, NAMES, with_ap=True).classes[0].values
    assert values["AP_50"] == pytest.approx(2 / 5)  # 2 found, 2 missed, 1 false positive
    assert values["AP_50_image_mean"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert "AP_50" not in compute_scores(counts, NAMES).classes[0].values
