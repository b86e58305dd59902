"""Counts of one image against plain loops over bitmaps, written from the papers."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellseg.scoring.counts import IOU_THRS, ImageCounts, count_scene
from cellseg.scoring.results import ImageResult
from cellseg.scoring.scene import build_result_scene, build_scene
from cellseg.structures.cells import Cells
from cellseg.structures.rle import RLE, encode_label_map

SIDE = 12


def cells_of(label_map: NDArray[Any], labels: list[int], scores: Any = None) -> Cells:
    """Encode the cells of a label map."""
    return Cells.from_rles(encode_label_map(label_map)[3], SIDE, SIDE, labels, scores)


def hold(rles: list[RLE], labels: list[int], scores: Any = None) -> Cells:
    """Hold masks of the test images."""
    return Cells.from_rles(rles, SIDE, SIDE, labels, scores)


def with_regions(truth: Cells, regions: list[RLE]) -> Cells:
    """Add regions to ignore."""
    ignored = np.ones(len(regions), dtype=bool)
    return Cells.concatenate([truth, replace(hold(regions, -1), ignored=ignored)])


def count_image(truth: Cells, found: Cells, num_classes: int, **options: Any) -> ImageCounts:
    """Count one image."""
    return count_scene(build_scene(truth, found, num_classes, **options))


def count_plainly(
    gt: list[NDArray[np.bool_]],
    pred: list[NDArray[np.bool_]],
    ignore: NDArray[np.bool_],
    iou_thr: float,
) -> dict[str, float]:
    """Count one class whose predictions do not overlap, a pair of bitmaps at a time."""
    iou = [[(g & p).sum() / (g | p).sum() for p in pred] for g in gt]
    pairs = [(i, j) for i in range(len(gt)) for j in range(len(pred)) if iou[i][j] > iou_thr]
    matched = {j for _, j in pairs}
    judged = [
        j
        for j, mask in enumerate(pred)
        if j in matched or (mask & ignore).sum() / mask.sum() <= 0.5
    ]
    shared = union = 0
    used = set()
    for i, mask in enumerate(gt):
        best = max(judged, key=lambda j, i=i: iou[i][j], default=None)
        if best is None or iou[i][best] == 0:
            union += mask.sum()
            continue
        shared += (mask & pred[best]).sum()
        union += (mask | pred[best]).sum()
        used.add(best)
    union += sum(pred[j].sum() for j in judged if j not in used)
    empty = np.zeros((SIDE, SIDE), dtype=bool)
    gt_all = np.any([empty, *gt], axis=0)
    pred_all = np.any([empty, *(pred[j] for j in judged)], axis=0)
    return {
        "true_positives": len(pairs),
        "false_positives": len(judged) - len(matched),
        "false_negatives": len(gt) - len(pairs),
        "iou_sums": sum(iou[i][j] for i, j in pairs),
        "aji_shared_px": shared,
        "aji_union_px": union,
        "common_px": (gt_all & pred_all).sum(),
        "gt_px": gt_all.sum(),
        "pred_px": pred_all.sum(),
    }


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 4), st.booleans())
def test_count_image_when_cells_are_random_then_equals_plain_loops(
    seed: int, size: int, with_ignore: bool
) -> None:
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.integers(0, 5, (4, 4)), np.ones((3, 3), int))
    pred_map = (
        np.roll(blocks, rng.integers(-1, 2, 2), axis=(0, 1)) if size else np.zeros_like(blocks)
    )
    gt_map = blocks * (rng.random(blocks.shape) < 0.9)
    ignore = (rng.random((SIDE, SIDE)) < 0.6) & with_ignore
    ids = [[int(v) for v in np.unique(m) if v] for m in (gt_map, pred_map)]
    labels = [rng.integers(0, 2, len(numbers)) for numbers in ids]
    truth, found = cells_of(gt_map, labels[0]), cells_of(pred_map, labels[1])
    regions = encode_label_map(ignore.astype(int))[3]
    counts = count_image(with_regions(truth, regions), found, 2)
    for group in range(3):
        gt, pred = (
            [m == v for v, label in zip(n, k, strict=True) if group in (2, label)]
            for m, n, k in zip((gt_map, pred_map), ids, labels, strict=True)
        )
        expected = count_plainly(gt, pred, ignore, 0.5)
        for name, value in expected.items():
            got = getattr(counts, name)[group]
            assert (got if got.ndim == 0 else got[0]) == pytest.approx(value), name
        strict = count_plainly(gt, pred, ignore, IOU_THRS[5])
        for name in ("true_positives", "false_positives", "false_negatives"):
            assert getattr(counts, name)[group, 5] == strict[name]


def square(x: int, y: int, side: int) -> NDArray[np.int64]:
    """Draw one filled square."""
    label_map = np.zeros((SIDE, SIDE), dtype=np.int64)
    label_map[y : y + side, x : x + side] = 1
    return label_map


def encode(*label_maps: NDArray[np.int64]) -> list[RLE]:
    """Encode maps of one cell each."""
    return [encode_label_map(label_map)[3][0] for label_map in label_maps]


def counts_at_first(counts: ImageCounts, group: int) -> list[int]:
    """List TP, FP and FN at the first IoU threshold."""
    names = ("true_positives", "false_positives", "false_negatives")
    return [int(getattr(counts, name)[group, 0]) for name in names]


def test_count_image_when_predictions_overlap_then_the_better_score_gets_the_pixels() -> None:
    truth = hold(encode(square(0, 0, 6)), [0])
    copies = hold(encode(square(0, 0, 6), square(0, 0, 6)), [0, 0], [0.8, 0.9])
    counts = count_image(truth, copies, 1)
    assert counts_at_first(counts, 0) == [1, 0, 0]  # the hidden copy is not in a label map
    shifted = hold(encode(square(0, 0, 6), square(0, 1, 6)), [0, 0], [0.9, 0.8])
    assert counts_at_first(count_image(truth, shifted, 1), 0) == [1, 1, 0]


def test_count_image_when_a_cell_is_found_under_two_classes_then_one_match_over_all() -> None:
    truth = hold(encode(square(0, 0, 6)), [0])
    found = hold(encode(square(0, 0, 6), square(0, 0, 6)), [0, 1], [0.8, 0.9])
    counts = count_image(truth, found, 2)
    assert counts_at_first(counts, 0) == [1, 0, 0]
    assert counts_at_first(counts, 1) == [0, 1, 0]
    assert counts_at_first(counts, 2) == [1, 1, 0]
    assert (counts.true_positives[2] == 1).all()


def test_count_image_when_score_is_low_then_left_out() -> None:
    truth = hold(encode(square(0, 0, 6)), [0])
    found = hold(truth.rles * 2, [0, 0], [0.49, 0.1])
    assert counts_at_first(count_image(truth, found, 1), 0) == [0, 0, 1]
    assert counts_at_first(count_image(truth, found, 1, score_thr=0.3), 0) == [1, 0, 0]


@pytest.mark.parametrize(("side", "expected"), [(6, [0, 0, 1]), (3, [0, 1, 1])])
def test_count_image_when_prediction_is_in_an_ignore_region_then_counts_for_nobody(
    side: int, expected: list[int]
) -> None:
    truth = hold(encode(square(0, 0, 4)), [0])
    found = hold(encode(square(6, 6, 6)), [0], [0.9])
    counts = count_image(with_regions(truth, encode(square(6, 6, side))), found, 1)
    assert counts_at_first(counts, 0) == expected
    ignored = side == 6
    assert counts.pred_px[0] == (0 if ignored else 36)
    assert counts.aji_union_px[0] == (16 if ignored else 52)


def test_count_image_when_a_matched_prediction_is_in_an_ignore_region_then_counts() -> None:
    truth = hold(encode(square(0, 0, 4)), [0])
    counts = count_image(with_regions(truth, encode(square(0, 0, 8))), truth, 1)
    assert counts_at_first(counts, 0) == [1, 0, 0]
    assert counts.aji_union_px[0] == counts.common_px[0] == 16


def test_count_image_when_pickled_then_stays_small() -> None:
    gt = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    cells = cells_of(gt, [0] * (SIDE * SIDE - 1))
    data = pickle.dumps(count_image(cells, cells, 4))
    assert len(data) < 3000
    assert (pickle.loads(data).true_positives[0] == SIDE * SIDE - 1).all()


def make_result(pred_label: int = 0, rles: list[RLE] | None = None) -> ImageResult:
    """Make a metric's result of one cell, one ignore region and one prediction on each."""
    cell, region = encode(square(0, 0, 4), square(6, 6, 5))
    instances = [
        {"mask": region, "bbox": [6, 6, 11, 11], "bbox_label": -1, "ignore_flag": 1},
        {"mask": cell, "bbox": [0, 0, 4, 4], "bbox_label": 0, "ignore_flag": 0},
    ]
    masks = [cell, region] if rles is None else rles
    labels = np.array([pred_label, 0])
    found = hold(masks, labels, [0.9, 0.8])
    return ImageResult(4, SIDE, SIDE, found, Cells.from_instances(instances, SIDE, SIDE))


def count_result(result: ImageResult, num_classes: int, **options: Any) -> ImageCounts:
    """Count a metric's result."""
    return count_scene(build_result_scene(result, num_classes, **options))


def test_count_result_when_regions_are_ignored_then_as_count_image() -> None:
    assert counts_at_first(count_result(make_result(), 1), 0) == [1, 0, 0]
    assert counts_at_first(count_result(make_result(), 1, score_thr=0.95), 0) == [0, 0, 1]


def test_count_result_when_it_cannot_be_scored_then_the_image_is_named() -> None:
    with pytest.raises(ValueError, match="Image 4: The prediction 0 has class 3"):
        count_result(make_result(pred_label=3), 1)
    without = replace(make_result(), ground_truth=None)
    with pytest.raises(ValueError, match="Image 4 came without masks"):
        count_result(without, 1)
