"""Anchors proposed for cells of known sizes."""

import numpy as np
import pytest
from mmengine.config import Config

from cellseg.analysis.anchor_fit import AnchorProposal, fit_anchors
from cellseg.analysis.anchor_recall import (
    AnchorGrid,
    AnchorSetting,
    best_ious,
    read_setting,
)
from cellseg.structures.cells import Cells

STRIDES = (4, 8)
RESIZE = {"type": "Resize", "scale": (512, 512), "keep_ratio": True}


def make_setting() -> AnchorSetting:
    """Make a setting with useless anchors, at twice the images' size."""
    grids = tuple(AnchorGrid(np.array([[0.0, 0, 1, 1]]), (s, s)) for s in STRIDES)
    return AnchorSetting("x", grids, RESIZE, 32)


def draw_cells(count: int = 300) -> list[Cells]:
    """Draw cells of 10 and 40 px, a third of them twice as high as wide, in two 256 px images."""
    rng = np.random.default_rng(0)
    size = np.where(rng.random(count) < 0.5, 10.0, 40.0)
    root = np.sqrt(np.where(rng.random(count) < 1 / 3, 2.0, 1.0))
    corner = rng.uniform(0, 200, (count, 2))
    boxes = np.concatenate((corner, corner + np.stack((size / root, size * root), axis=1)), axis=1)
    cells = Cells(boxes, None, np.zeros(count), None, 256, 256)
    return [cells[: count // 3], cells[count // 3 :]]


def test_fit_anchors_when_sizes_are_known_then_found_in_pixels_of_the_input() -> None:
    proposal = fit_anchors(draw_cells(), make_setting(), num_ratios=2)
    assert proposal.base_sizes == pytest.approx([20, 80], rel=0.15)
    assert proposal.ratios == pytest.approx([1.0, 2.0], rel=0.2)
    assert best_ious(draw_cells(), proposal.to_setting(make_setting())).mean() > 0.8


def test_fit_anchors_when_fitted_then_better_than_the_start_and_repeatable() -> None:
    cells = draw_cells()
    first, second = (fit_anchors(cells, make_setting(), num_ratios=3) for _ in range(2))
    assert first == second
    assert list(first.base_sizes) == sorted(first.base_sizes)


@pytest.mark.parametrize("count", [1, 2])
def test_fit_anchors_when_cells_are_few_then_still_a_proposal(count: int) -> None:
    cells = [draw_cells()[0][:count]]
    proposal = fit_anchors(cells, make_setting(), num_ratios=4)
    assert len(proposal.base_sizes) == 2
    assert 1 <= len(proposal.ratios) <= 4


def test_fit_anchors_when_there_is_no_cell_then_says_so() -> None:
    with pytest.raises(ValueError, match="at least one cell"):
        fit_anchors([draw_cells()[0][:0]], make_setting())


def test_to_config_when_built_by_mmdet_then_the_same_anchors() -> None:
    proposal = AnchorProposal(STRIDES, (11, 30), (0.5, 1.25))
    config = Config.fromstring(proposal.to_config(), ".py")
    config.model.rpn_head.anchor_generator.pop("_delete_")
    built = read_setting(config, "x")
    for ours, theirs in zip(proposal.to_setting(make_setting()).grids, built.grids, strict=True):
        np.testing.assert_allclose(ours.shapes_xyxy, theirs.shapes_xyxy, rtol=1e-5)
        assert ours.stride_xy == theirs.stride_xy
