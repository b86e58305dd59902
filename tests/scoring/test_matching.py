"""Overlaps and matches against bitmaps, disks of known shift, and brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cellseg.scoring.matching import Overlaps, match_cells, overlap_label_maps, overlap_masks
from cellseg.structures.cells import Cells


def draw_disks(centers: list[tuple[int, int]], radius: int, side: int = 64) -> NDArray[np.int32]:
    """Draw numbered disks at (x, y) centers; later ones lie on top."""
    y, x = np.mgrid[:side, :side]
    label_map = np.zeros((side, side), dtype=np.int32)
    for number, (cx, cy) in enumerate(centers, start=1):
        label_map[(x - cx) ** 2 + (y - cy) ** 2 <= radius**2] = number
    return label_map


@st.composite
def map_pairs(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw two label maps of one size with scattered ids, large, negative or none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(st.integers(0, 8), st.integers(0, 8)))
    ids = np.array([0, 0, 1, 2, 7, 70_000, draw(st.sampled_from([5, -3, 2**40]))])
    return rng.choice(ids, size=shape), rng.choice(ids, size=shape)


@settings(max_examples=80, deadline=None)
@given(map_pairs())
def test_overlap_label_maps_when_maps_are_random_then_equals_bitmaps(
    maps: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> None:
    gt, pred = maps
    overlaps, gt_ids, pred_ids = overlap_label_maps(gt, pred)
    assert gt_ids.tolist() == sorted({int(v) for v in gt.flat if v > 0})
    assert pred_ids.tolist() == sorted({int(v) for v in pred.flat if v > 0})
    shared = np.zeros((len(gt_ids), len(pred_ids)), dtype=int)
    shared[overlaps.gt_index, overlaps.pred_index] = overlaps.shared_px
    expected = [[((gt == g) & (pred == p)).sum() for p in pred_ids] for g in gt_ids]
    np.testing.assert_array_equal(shared, np.reshape(expected, shared.shape))
    assert overlaps.gt_areas.tolist() == [(gt == g).sum() for g in gt_ids]
    assert overlaps.pred_areas.tolist() == [(pred == p).sum() for p in pred_ids]


@settings(max_examples=40, deadline=None)
@given(map_pairs())
def test_overlap_masks_when_encoded_from_maps_then_equals_joint_histogram(
    maps: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> None:
    by_map, *_ = overlap_label_maps(*maps)
    by_runs = overlap_masks(*(Cells.from_label_map(m).get_masks() for m in maps))
    for name in ("gt_index", "pred_index", "shared_px", "gt_areas", "pred_areas"):
        np.testing.assert_array_equal(getattr(by_runs, name), getattr(by_map, name))


@pytest.mark.parametrize("shift", [0, 1, 3, 5, 11])
def test_overlap_label_maps_when_disk_is_rolled_then_iou_is_the_known_one(shift: int) -> None:
    disk = draw_disks([(30, 30)], radius=10)
    rolled = np.roll(disk, shift, axis=1)
    overlaps, *_ = overlap_label_maps(disk, rolled)
    expected = (disk & rolled).sum() / (disk | rolled).sum()
    assert overlaps.ious.tolist() == [expected]
    # the lens of two circles, exact but for drawing on pixels
    lens = 2 * 100 * np.arccos(shift / 20) - shift / 2 * np.sqrt(400 - shift**2)
    assert overlaps.ious[0] == pytest.approx(lens / (200 * np.pi - lens), abs=0.02)


def test_overlap_label_maps_when_many_ids_are_sparse_then_sorting_gives_the_same() -> None:
    rng = np.random.default_rng(0)
    gt, pred = (rng.permutation(90_000).reshape(300, 300) + 1 for _ in range(2))
    overlaps, *_ = overlap_label_maps(gt, pred)
    assert len(overlaps.shared_px) == 90_000
    assert (overlaps.ious == 1).all()


def test_overlap_label_maps_when_shapes_differ_then_says_so() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        overlap_label_maps(np.zeros((3, 4), int), np.zeros((4, 3), int))
    with pytest.raises(ValueError, match="two-dimensional integer"):
        overlap_label_maps(np.zeros((3, 4)), np.zeros((3, 4)))


def make_overlaps(ious: NDArray[np.float64]) -> Overlaps:
    """Build overlaps whose IoU of (i, j) is ious[i, j], in areas of 1e6 pixels."""
    area = 10**6
    i, j = np.nonzero(ious)
    shared = np.round(2 * area * ious[i, j] / (1 + ious[i, j])).astype(np.int64)
    return Overlaps(i, j, shared, *(np.full(n, area) for n in ious.shape))


def best_by_trying_all(ious: NDArray[np.float64], iou_thr: float) -> tuple[int, float]:
    """Find the largest (count, IoU sum) over all one-to-one assignments."""
    if ious.shape[0] > ious.shape[1]:
        ious = ious.T
    best = (0, 0.0)
    for columns in itertools.permutations(range(ious.shape[1]), ious.shape[0]):
        picked = [value for value in ious[range(len(ious)), columns] if value > iou_thr]
        best = max(best, (len(picked), float(sum(picked))))
    return best


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32 - 1), st.floats(0, 0.9))
def test_match_cells_when_cells_compete_then_equals_trying_all(
    num_gt: int, num_pred: int, seed: int, iou_thr: float
) -> None:
    rng = np.random.default_rng(seed)
    ious = np.round(rng.random((num_gt, num_pred)), 3) * (rng.random((num_gt, num_pred)) < 0.6)
    overlaps = make_overlaps(ious)
    dense = np.zeros_like(ious)
    dense[overlaps.gt_index, overlaps.pred_index] = overlaps.ious
    matches = match_cells(overlaps, iou_thr)
    count, total = best_by_trying_all(dense, iou_thr)
    assert len(matches) == count
    assert matches.ious.sum() == pytest.approx(total)
    assert len(set(matches.pred_index.tolist())) == len(matches)
    assert (np.diff(matches.gt_index) > 0).all()
    assert (matches.ious == dense[matches.gt_index, matches.pred_index]).all()


def test_match_cells_when_one_good_pair_bars_two_fair_ones_then_two_matches_win() -> None:
    matches = match_cells(make_overlaps(np.array([[0.9, 0.3], [0.3, 0.0]])), 0.2)
    assert matches.gt_index.tolist() == [0, 1]
    assert matches.pred_index.tolist() == [1, 0]


def test_match_cells_when_iou_is_exactly_the_threshold_then_no_match() -> None:
    gt = np.array([[1, 1, 0]])
    pred = np.array([[1, 0, 0]])
    overlaps, *_ = overlap_label_maps(gt, pred)
    assert overlaps.ious.tolist() == [0.5]
    assert len(match_cells(overlaps, 0.5)) == 0
    assert len(match_cells(overlaps, 0.49)) == 1


@pytest.mark.parametrize(("gt", "pred"), [(0, 0), (0, 1), (1, 0)])
def test_match_cells_when_a_side_is_empty_then_matches_nothing(gt: int, pred: int) -> None:
    overlaps, *_ = overlap_label_maps(np.full((4, 4), gt), np.full((4, 4), pred))
    assert len(match_cells(overlaps)) == 0
    assert (len(overlaps.gt_areas), len(overlaps.pred_areas)) == (gt, pred)
