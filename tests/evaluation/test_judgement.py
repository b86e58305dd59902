"""Figures of known value."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cellseg.evaluation.image_counts import CellSet, ImageCounts, count_image
from cellseg.evaluation.judgement import format_judgement, judge
from cellseg.structures.rle import encode_label_map

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
    sets = []
    for label_map, given in ((gt, gt_labels), (pred, labels)):
        rles = encode_label_map(label_map)[3]
        sets.append(CellSet(rles, [0] * len(rles) if given is None else given))
    return count_image(*sets, num_classes=2)


def disk_iou(shift: int) -> float:
    """Compute the IoU of a drawn disk and itself shifted."""
    first, second = draw_disks(1) > 0, draw_disks(1, shift) > 0
    return float((first & second).sum() / (first | second).sum())


def test_judge_when_prediction_is_perfect_then_every_figure_is_exactly_one() -> None:
    maps = [draw_disks(3), draw_disks(2)]
    counts = [count_maps(maps[0], maps[0], *2 * [[0, 1, 0]]), count_maps(maps[1], maps[1])]
    figures = judge(counts, NAMES).to_dict()
    assert len(figures) == 4 * (8 + 30)
    assert {name for name, value in figures.items() if value != 1.0} == set()


@pytest.mark.parametrize("shift", [0, 2, 5])
def test_judge_when_disks_are_shifted_then_sq_is_the_known_iou(shift: int) -> None:
    counts = [count_maps(draw_disks(3), draw_disks(3, shift))]
    values = judge(counts, NAMES).classes[0].values
    iou = disk_iou(shift)
    assert values["DQ"] == values["F1_50"] == values["recall_50"] == 1
    assert values["PQ"] == values["SQ"] == pytest.approx(iou)
    assert values["AJI"] == pytest.approx(iou)
    assert values["Dice"] == pytest.approx(2 * iou / (1 + iou))
    for iou_thr in (0.6, 0.75, 0.9):
        assert values[f"F1_{100 * iou_thr:.0f}"] == float(iou > iou_thr)


def test_judge_when_disks_are_shifted_too_far_then_nothing_matches() -> None:
    values = judge([count_maps(draw_disks(3), draw_disks(3, 9))], NAMES).classes[0].values
    iou = disk_iou(9)
    assert 0 < iou < 0.5
    assert values["PQ"] == values["F1_50"] == values["precision_50"] == values["SQ"] == 0
    assert values["AJI"] == pytest.approx(iou)  # AJI knows no threshold


def test_judge_when_cells_are_missed_and_invented_then_f1_is_the_known_one() -> None:
    both = draw_disks(5)
    gt, pred = np.where(both == 5, 0, both), np.where(both <= 2, 0, both)
    values = judge([count_maps(gt, pred)], NAMES).classes[0].values  # 2 found, 1 invented, 2 missed
    assert values["F1_50"] == values["PQ"] == pytest.approx(2 / (2 + 0.5 + 1))
    assert values["precision_50"] == pytest.approx(2 / 3)
    assert values["recall_50"] == pytest.approx(2 / 4)
    assert values["AJI"] == pytest.approx(2 / 5)
    assert values["Dice"] == pytest.approx(4 / 7)


def test_judge_when_class_is_absent_from_an_image_then_its_inventions_cost_in_the_image_mean() -> (
    None
):
    good = count_maps(draw_disks(1), draw_disks(1))
    invented = count_maps(draw_disks(0), draw_disks(1)[:, :30])
    empty = count_maps(draw_disks(0), draw_disks(0))
    alone = judge([good, empty], NAMES).classes[0].values
    assert alone["PQ_image_mean"] == alone["PQ"] == 1  # an image without the class says nothing
    both = judge([good, empty, invented], NAMES).classes[0].values
    assert both["PQ_image_mean"] == both["AJI_image_mean"] == both["Dice_image_mean"] == 0.5
    assert both["PQ"] == pytest.approx(1 / 1.5)


def test_judge_when_pooled_and_image_mean_differ_then_both_are_the_known_ones() -> None:
    full = count_maps(draw_disks(9), draw_disks(9))
    missed = count_maps(draw_disks(1), draw_disks(0))
    values = judge([full, missed], NAMES).classes[0].values
    assert values["PQ"] == pytest.approx(9 / 9.5)
    assert values["PQ_image_mean"] == 0.5


def test_judge_when_a_class_has_no_cell_then_it_is_reported_and_left_out_of_the_mean() -> None:
    counts = [count_maps(draw_disks(2), draw_disks(2), [0, 0], [0, 1])]
    judgement = judge(counts, NAMES)
    absent = judgement.classes[1]
    assert (absent.num_cells, absent.num_predicted, absent.values) == (0, 1, {})
    assert judgement.means == judgement.classes[0].values
    assert not [name for name in judgement.to_dict() if name.startswith("lymphocyte")]
    assert judgement.any_class.values["PQ"] == 1
    (line,) = (li for li in format_judgement(judgement).splitlines() if li.startswith("lympho"))
    assert line.split()[1:6] == ["0", "1", "no", "cell", "in"]


@pytest.mark.parametrize("num_images", [0, 2])
def test_judge_when_there_is_no_cell_at_all_then_no_figure_but_a_table(num_images: int) -> None:
    judgement = judge([count_maps(draw_disks(0), draw_disks(0))] * num_images, NAMES)
    assert judgement.to_dict() == {}
    assert format_judgement(judgement).count("no cell in the ground truth") == 4


def test_judge_when_images_are_shuffled_then_figures_are_identical() -> None:
    rng = np.random.default_rng(3)
    counts = []
    for _ in range(30):
        gt = np.kron(rng.integers(0, 30, (8, 8)), np.ones((3, 3), int)).astype(np.int32)
        counts.append(count_maps(gt, (np.roll(gt, 1) * (rng.random(gt.shape) < 0.9))))
    first = judge(counts, NAMES).to_dict()
    rng.shuffle(counts)
    assert judge(counts, NAMES).to_dict() == first


def test_judge_when_counts_are_of_other_classes_then_says_so() -> None:
    with pytest.raises(ValueError, match="1 classes and 10 IoU"):
        judge([count_maps(draw_disks(1), draw_disks(1))], ["cell"])


def test_format_judgement_when_printed_then_columns_line_up() -> None:
    counts = [count_maps(draw_disks(3), draw_disks(3, 2), [0, 1, 1], [0, 1, 0])]
    lines = format_judgement(judge(counts, NAMES)).splitlines()
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1


def test_judge_when_real_labels_are_predicted_then_exactly_one(real_data: Path) -> None:
    folder = real_data / "hw3" / "train" / "hgsc_nest_1500"
    rles, labels = [], []
    for label, name in enumerate(("class1", "class2", "class3", "class4")):
        if (folder / f"{name}.tif").exists():
            layer = tifffile.imread(folder / f"{name}.tif").astype(np.int64)
            rles += encode_label_map(layer)[3]
            labels += [label] * (len(rles) - len(labels))
    cells = CellSet(rles, labels)
    judgement = judge([count_image(cells, cells, 4)], ["1", "2", "3", "4"])
    assert set(judgement.to_dict().values()) == {1.0}
    assert judgement.any_class.num_cells == 1294
