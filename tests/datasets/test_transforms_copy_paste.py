"""Copy-paste on label maps, against mmdet's on bitmaps."""

import copy
import random

import numpy as np
import pytest
from mmdet.datasets.transforms import CopyPaste
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

from cellseg.datasets.transforms_copy_paste import CellCopyPaste
from cellseg.structures.label_map_masks import LabelMapMasks
from tests.structures.drawn_results import assert_same, draw_results

SIDE = 80


def make_results(seed: int, num_cells: int = 30) -> dict:
    return draw_results(seed, SIDE, SIDE, num_cells)


def as_stock(results: dict) -> dict:
    return copy.deepcopy(results) | {"gt_masks": results["gt_masks"].to_bitmap()}


def paste(transform: CopyPaste, below: dict, above: dict, seed: int = 0) -> dict:
    random.seed(seed)
    np.random.seed(seed)
    return transform(below | {"mix_results": [above]})


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "options",
    [
        {"bbox_occluded_thr": 3, "mask_occluded_thr": 40},
        {"max_num_pasted": 6, "mask_occluded_thr": 300},
        {"selected": False, "bbox_occluded_thr": 0, "mask_occluded_thr": 0},
    ],
)
def test_copy_paste_when_thresholds_agree_then_equals_mmdet(options, seed):
    below, above = make_results(seed), make_results(seed + 100, num_cells=9)
    stock = paste(CopyPaste(**options), as_stock(below), as_stock(above), seed)
    ours = paste(CellCopyPaste(**options), below, above, seed)
    assert isinstance(stock["gt_masks"], BitmapMasks)
    assert ours["img"].dtype == np.uint8
    assert_same(ours, stock)


def results_of_boxes(*boxes: tuple[int, int, int, int]) -> dict:
    """Give each box a layer of its own and fill it."""
    layers = np.zeros((len(boxes), SIDE, SIDE), dtype=np.int32)
    for layer, (x1, y1, x2, y2) in zip(layers, boxes, strict=True):
        layer[y1:y2, x1:x2] = 5
    return {
        "img": np.full((SIDE, SIDE, 3), len(boxes), dtype=np.uint8),
        "img_path": "image.tif",
        "gt_bboxes": HorizontalBoxes(np.array(boxes, dtype=np.float32)),
        "gt_bboxes_labels": np.arange(len(boxes)),
        "gt_ignore_flags": np.zeros(len(boxes), dtype=bool),
        "gt_masks": LabelMapMasks(layers, np.arange(len(boxes)), np.full(len(boxes), 5)),
    }


def test_copy_paste_when_cells_are_covered_then_they_lose_pixels_or_vanish():
    hidden, halved, far = (2, 2, 6, 6), (5, 5, 40, 40), (50, 50, 60, 60)
    pasted = (0, 0, 30, 40)
    below = results_of_boxes(hidden, halved, far)
    got = paste(CellCopyPaste(selected=False), below, results_of_boxes(pasted))
    assert got["gt_bboxes_labels"].tolist() == [1, 2, 0]
    assert got["gt_bboxes"].tensor.tolist() == [[30, 5, 40, 40], list(far), list(pasted)]
    assert got["gt_masks"].areas.tolist() == [10 * 35, 100, 30 * 40]
    assert got["img"][:40, :30].max() == 1
    assert got["img"][40:].min() == 3


def test_copy_paste_when_nothing_is_selected_or_below_then_all_else_stays():
    cells, empty = results_of_boxes((5, 5, 9, 9)), results_of_boxes((5, 5, 9, 9))
    for key in ("gt_bboxes", "gt_bboxes_labels", "gt_ignore_flags", "gt_masks"):
        empty[key] = empty[key][np.zeros(0, dtype=np.int64)]
    transform = CellCopyPaste(selected=False)
    assert len(paste(transform, dict(cells), dict(empty))["gt_masks"]) == 1
    assert paste(transform, dict(empty), dict(cells))["gt_masks"].areas.tolist() == [16]


def test_copy_paste_when_labels_are_given_then_pastes_only_those():
    above = make_results(1)
    above["gt_ignore_flags"][np.flatnonzero(above["gt_bboxes_labels"] == 2)[0]] = True
    before = copy.deepcopy(above)
    transform = CellCopyPaste(selected=False, labels=(2, 3))
    got = paste(transform, make_results(0, num_cells=1), above)
    rare = np.isin(before["gt_bboxes_labels"], (2, 3)) & ~before["gt_ignore_flags"]
    assert 0 < rare.sum() < len(rare)
    pasted = got["gt_masks"][-rare.sum() :]
    assert np.array_equal(got["gt_bboxes_labels"][-rare.sum() :], before["gt_bboxes_labels"][rare])
    assert np.array_equal(pasted.to_ndarray(), before["gt_masks"][rare].to_ndarray())
    outside = ~before["gt_masks"][rare].foreground()
    assert np.array_equal(got["img"][outside], make_results(0, num_cells=1)["img"][outside])
    assert len(above["gt_masks"]) == len(before["gt_masks"])
    assert "labels=[2, 3]" in repr(transform)


def test_copy_paste_when_labels_are_empty_then_says_so():
    with pytest.raises(ValueError, match="one class at least"):
        CellCopyPaste(labels=())


class Entries(list):
    """A data set of classes by image; a negative one is a region to ignore."""

    def get_data_info(self, index: int) -> dict:
        cells = [{"bbox_label": label, "ignore_flag": label < 0} for label in self[index]]
        return {"instances": cells}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(None, {0, 1, 2, 3}), ((2,), {1, 3}), ((2, 0), {0, 1, 3}), ((7,), {0, 1, 2, 3})],
)
def test_sources_when_drawn_often_then_are_all_images_that_hold_such_a_cell(labels, expected):
    random.seed(0)
    transform, images = CellCopyPaste(labels=labels), Entries([[0, 1], [2, 1], [], [1, 2, -1]])
    assert {transform.get_indexes(images) for _ in range(200)} == expected
    assert transform.get_indexes(Entries([[2, 0, 7]])) == 0


def test_copy_paste_when_sizes_or_masks_do_not_fit_then_says_so():
    small, large = results_of_boxes((5, 5, 9, 9)), results_of_boxes((5, 5, 9, 9))
    small["img"] = small["img"][:40]
    transform = TRANSFORMS.build({"type": "mmdet.CellCopyPaste", "selected": False})
    with pytest.raises(ValueError, match="crop and pad both"):
        paste(transform, large, small)
    with pytest.raises(ValueError, match="needs those of LoadLabelMaps"):
        paste(transform, as_stock(large), large)
