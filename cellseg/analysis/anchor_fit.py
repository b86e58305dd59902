"""Propose anchor sizes and ratios that fit the cells of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cellseg.analysis.anchor_recall import (
    AnchorGrid,
    AnchorSetting,
    best_ious,
    join_boxes,
    scale_to_input,
)
from cellseg.structures.cells import Cells

FloatArray = NDArray[np.float64]

_MAX_BOXES = 4000  # more do not move the fit
_STEPS = (1.25, 1.1, 1.04)


@dataclass(frozen=True)
class AnchorProposal:
    """Anchors of one size a level and shared ratios.

    Attributes:
        strides: Distance of the grid points of each level, in pixels of the input.
        base_sizes: Square root of the anchors' area on each level, in pixels of the input.
        ratios: Height over width.
    """

    strides: tuple[int, ...]
    base_sizes: tuple[int, ...]
    ratios: tuple[float, ...]

    def to_setting(self, like: AnchorSetting, name: str = "fitted") -> AnchorSetting:
        """Build the setting that has these anchors and everything else of another one."""
        grids = tuple(
            AnchorGrid(_shapes(size, self.ratios), (stride, stride))
            for size, stride in zip(self.base_sizes, self.strides, strict=True)
        )
        return replace(like, name=name, grids=grids)

    def to_config(self) -> str:
        """Write the lines that set these anchors in a config."""
        return (
            "model = dict(\n    rpn_head=dict(\n        anchor_generator=dict(\n"
            "            _delete_=True,\n"
            '            type="AnchorGenerator",\n'
            f"            strides={list(self.strides)},\n"
            f"            base_sizes={list(self.base_sizes)},\n"
            "            scales=[1.0],\n"
            f"            ratios={list(self.ratios)},\n"
            "        ),\n    ),\n)"
        )


def fit_anchors(
    images: Sequence[Cells], setting: AnchorSetting, num_ratios: int = 8, seed: int = 0
) -> AnchorProposal:
    """Choose one base size a level and shared ratios by the mean IoU with the best anchor.

    Sizes and ratios start at quantiles of the cells' own, moved to the centers of their clusters
    (k-means of the logarithms), and are then changed one at a time as long as that helps.

    Args:
        images: The cells of each image, at least one in all.
        setting: Strides and input size are taken from here, anchors are not.
        num_ratios: How many ratios to propose; fewer come out where two fall together.
        seed: Of the choice of boxes where there are many.

    Returns:
        The proposal; sizes ascend with the strides, ratios ascend.

    Raises:
        ValueError: If there is no cell or no ratio is wanted.
    """
    count = sum(len(cells) for cells in images)
    if not count or num_ratios < 1:
        raise ValueError("Fitting anchors needs at least one cell and one ratio.")
    sample = _take_sample(images, np.random.default_rng(seed).permutation(count)[:_MAX_BOXES])
    sides = _input_sides(sample, setting)
    strides = tuple(max(grid.stride_xy) for grid in setting.grids)
    log_sizes = _cluster(np.log(sides.prod(axis=1)) / 2, len(strides))
    log_ratios = _cluster(np.log(sides[:, 1] / sides[:, 0]), num_ratios)
    return _climb(sample, setting, _propose(strides, np.concatenate((log_sizes, log_ratios))))


def _climb(
    images: Sequence[Cells], setting: AnchorSetting, start: AnchorProposal
) -> AnchorProposal:
    """Change one size or ratio at a time as long as the mean IoU rises."""
    best = start
    best_score = best_ious(images, best.to_setting(setting)).mean()
    for step in _STEPS:
        improved = True
        while improved:
            improved = False
            for place in range(len(best.base_sizes) + len(best.ratios)):
                for factor in (step, 1 / step):
                    logs = np.log(np.array((*best.base_sizes, *best.ratios)))
                    logs[place] += np.log(factor)
                    candidate = _propose(best.strides, logs)
                    score = best_ious(images, candidate.to_setting(setting)).mean()
                    if len(candidate.ratios) == len(best.ratios) and score > best_score + 1e-4:
                        best, best_score, improved = candidate, score, True
    return best


def _propose(strides: tuple[int, ...], logs: FloatArray) -> AnchorProposal:
    """Round logarithms of sizes and ratios to a proposal."""
    sizes = np.sort(np.exp(logs[: len(strides)]))
    ratios = np.exp(logs[len(strides) :])
    return AnchorProposal(
        strides,
        tuple(max(round(size), 1) for size in sizes.tolist()),
        tuple(sorted({max(round(ratio, 2), 0.01) for ratio in ratios.tolist()})),
    )


def _take_sample(images: Sequence[Cells], chosen: NDArray[np.int64]) -> list[Cells]:
    """Take some cells, by their numbers through all images."""
    counts = [len(cells) for cells in images]
    is_chosen = np.zeros(sum(counts), dtype=bool)
    is_chosen[chosen] = True
    parts = np.split(is_chosen, np.cumsum(counts)[:-1])
    return [cells[part] for cells, part in zip(images, parts, strict=True) if part.any()]


def _input_sides(images: Sequence[Cells], setting: AnchorSetting) -> FloatArray:
    """Return width and height (N, 2) of the boxes in pixels of the input."""
    boxes = join_boxes(images)
    sides: FloatArray = (boxes[:, 2:] - boxes[:, :2]) * scale_to_input(images, setting)[0]
    return sides


def _cluster(values: FloatArray, count: int) -> FloatArray:
    """Find (count,) centers of values (N,), ascending, by k-means from their quantiles."""
    centers = np.quantile(values, (np.arange(count) + 0.5) / count)
    for _ in range(100):
        nearest = np.abs(values[:, None] - centers).argmin(axis=1)
        sums = np.bincount(nearest, weights=values, minlength=count)
        counts = np.bincount(nearest, minlength=count)
        moved = np.where(counts > 0, sums / np.maximum(counts, 1), centers)
        if np.allclose(moved, centers):
            break
        centers = moved
    return np.sort(centers)


def _shapes(base_size: float, ratios: tuple[float, ...]) -> FloatArray:
    """Make anchors (A, 4) around 0, 0, as AnchorGenerator does."""
    roots = np.sqrt(np.array(ratios))
    half = base_size / 2
    return np.stack((-half / roots, -half * roots, half / roots, half * roots), axis=1)
