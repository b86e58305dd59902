"""Find how well a config's anchors can cover the cells of a data set, without any training.

For each ground-truth box the best anchor is found exactly and without making the anchor grid. The
overlap of a box and an anchor is the product of an overlap in x, which only the anchor's column
decides, and one in y. Each shrinks (or stays) with the distance of the centers, so that for each
anchor shape the grid position nearest to the box's center is the best one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmcv.image.geometric import rescale_size
from mmdet.registry import TASK_UTILS
from mmengine.config import Config
from numpy.typing import NDArray

from cellseg.datasets.transforms_resize import limited_size
from cellseg.engine.configs import list_datasets
from cellseg.errors import CellsegError
from cellseg.structures.cells import Cells

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SIZE_BANDS_PX = (0, 8, 12, 16, 24, 32, 48, 64, 96, np.inf)
"""Edges of the size bands: square root of width x height of the box, in pixels of the image."""

_BLOCK_BOXES = 4096


@dataclass(frozen=True)
class AnchorGrid:
    """Anchors of one level: A shapes around each point of a grid.

    Attributes:
        shapes_xyxy: (A, 4) anchors of grid point 0, 0 as x1, y1, x2, y2 in pixels of the input.
        stride_xy: Distance of the grid points in x and y, in pixels of the input.
    """

    shapes_xyxy: FloatArray
    stride_xy: tuple[int, int]


@dataclass(frozen=True)
class AnchorSetting:
    """What of a config decides how anchors meet cells.

    Attributes:
        name: Name of the config.
        grids: One entry a level.
        resize: Type and settings of the step of the test pipeline that resizes, or None where it
            has none.
        size_divisor: The padded input's sides are multiples of this, in pixels.
    """

    name: str
    grids: tuple[AnchorGrid, ...]
    resize: Mapping[str, Any] | None
    size_divisor: int

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width that an image of the given size has as input, without padding."""
        if self.resize is None:
            return height, width
        settings = dict(self.resize)
        return _INPUT_SIZES[settings.pop("type")](height, width, **settings)


@dataclass(frozen=True)
class RecallFigures:
    """How well anchors cover some boxes; nan without boxes."""

    num_boxes: int
    recall_50: float
    recall_70: float
    mean_iou: float


def list_cells(infos: Iterable[Mapping[str, Any]]) -> list[Cells]:
    """List the cells of the images of a data set; regions to ignore are left out.

    Args:
        infos: Entries with `height`, `width` and `instances`.

    Returns:
        The cells of each image that has some.
    """
    images = [Cells.from_instances(i["instances"], i["height"], i["width"]) for i in infos]
    images = [cells[~cells.is_ignored] for cells in images]
    return [cells for cells in images if len(cells)]


def join_boxes(images: Sequence[Cells]) -> FloatArray:
    """Join the boxes (N, 4) of the cells of all images, each in pixels of its image."""
    none = np.zeros((0, 4))
    return np.concatenate([none, *(cells.boxes.astype(np.float64) for cells in images)])


def size_boxes(images: Sequence[Cells]) -> FloatArray:
    """Compute the square roots of width x height of the boxes (N,), in pixels of the images."""
    boxes = join_boxes(images)
    sizes: FloatArray = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    return sizes


def scale_to_input(images: Sequence[Cells], setting: AnchorSetting) -> tuple[FloatArray, IntArray]:
    """Find how each image is shown to the network.

    Args:
        images: The cells of I images.
        setting: Decides the size of the input.

    Returns:
        Factors (N, 2) on x and y for each cell, and the height and width (N, 2) of its input.
    """
    sizes = np.array([(cells.height, cells.width) for cells in images], dtype=int).reshape(-1, 2)
    inputs = np.array([setting.input_size(h, w) for h, w in sizes.tolist()], dtype=int)
    inputs = inputs.reshape(-1, 2)
    counts = [len(cells) for cells in images]
    return np.repeat((inputs / sizes)[:, ::-1], counts, axis=0), np.repeat(inputs, counts, axis=0)


def read_setting(config: Config, name: str) -> AnchorSetting:
    """Read anchors and input size from a config.

    Args:
        config: A config with `model.rpn_head.anchor_generator` (or `model.bbox_head`'s) and the
            pipeline of `test_dataloader`.
        name: What to call it.

    Returns:
        The setting.

    Raises:
        CellsegError: If there are no anchors, or the resize is of an unknown kind.
    """
    model = config.get("model") or {}
    heads = [model.get(head) or {} for head in ("rpn_head", "bbox_head")]
    generators = [head["anchor_generator"] for head in heads if "anchor_generator" in head]
    if not generators:
        raise CellsegError(f"{config.filename} has no model.rpn_head.anchor_generator.")
    generator = TASK_UTILS.build(dict(generators[0]))
    grids = tuple(
        AnchorGrid(shapes.numpy().astype(np.float64), (int(stride[0]), int(stride[1])))
        for shapes, stride in zip(generator.base_anchors, generator.strides, strict=True)
    )
    divisor = (model.get("data_preprocessor") or {}).get("pad_size_divisor", 1)
    return AnchorSetting(name, grids, _find_resize(config), int(divisor))


def best_ious(images: Sequence[Cells], setting: AnchorSetting) -> FloatArray:
    """Find the IoU of each cell's box with its best anchor.

    Args:
        images: The cells of each image, N in all.
        setting: Anchors and input size.

    Returns:
        (N,) IoU in [0, 1]; 0 where no anchor touches the box.
    """
    scales, inputs = scale_to_input(images, setting)
    scaled = join_boxes(images) * np.tile(scales, 2)
    padded = -(-inputs // setting.size_divisor) * setting.size_divisor  # (N, 2)
    best = np.zeros(len(scaled))
    for start in range(0, len(scaled), _BLOCK_BOXES):
        block = slice(start, start + _BLOCK_BOXES)
        for grid in setting.grids:
            ious = _best_of_grid(scaled[block], padded[block], grid)
            best[block] = np.maximum(best[block], ious)
    return best


def summarize(ious: FloatArray) -> RecallFigures:
    """Summarize the best IoUs (N,) of some boxes."""
    if not len(ious):
        return RecallFigures(0, np.nan, np.nan, np.nan)
    at_50, at_70 = (float((ious >= threshold).mean()) for threshold in (0.5, 0.7))
    return RecallFigures(len(ious), at_50, at_70, float(ious.mean()))


def summarize_groups(
    images: Sequence[Cells], ious: FloatArray, class_names: Sequence[str]
) -> dict[str, dict[str, RecallFigures]]:
    """Summarize best IoUs over all cells, per class and per size band.

    Args:
        images: The cells of each image, N in all.
        ious: (N,) their best IoUs.
        class_names: The classes in order.

    Returns:
        'all', 'class' and 'size' to name to figures, the names in order.
    """
    bands = np.searchsorted(SIZE_BANDS_PX, size_boxes(images), side="right") - 1
    labels = np.concatenate([np.zeros(0, int), *(cells.labels for cells in images)])
    return {
        "all": {"all cells": summarize(ious)},
        "class": {n: summarize(ious[labels == k]) for k, n in enumerate(class_names)},
        "size": {n: summarize(ious[bands == k]) for k, n in enumerate(name_bands())},
    }


def name_bands() -> list[str]:
    """Name the size bands, as in '8-12 px'."""
    pairs = zip(SIZE_BANDS_PX[:-1], SIZE_BANDS_PX[1:], strict=True)
    return [f"{low:g}+ px" if high == np.inf else f"{low:g}-{high:g} px" for low, high in pairs]


def _best_of_grid(boxes: FloatArray, padded: IntArray, grid: AnchorGrid) -> FloatArray:
    """Find each box's best IoU (N,) with the anchors of one level.

    Args:
        boxes: (N, 4) in pixels of the input.
        padded: (N, 2) height and width of each padded input.
        grid: The level.
    """
    shared = np.ones((len(boxes), len(grid.shapes_xyxy)))
    for axis in range(2):
        stride = grid.stride_xy[axis]
        low, high = boxes[:, [axis]], boxes[:, [axis + 2]]  # (N, 1)
        shape_low, shape_high = grid.shapes_xyxy[:, axis], grid.shapes_xyxy[:, axis + 2]  # (A,)
        last = -(-padded[:, [1 - axis]] // stride) - 1
        steps = np.rint(((low + high) - (shape_low + shape_high)) / (2 * stride))
        shift = np.clip(steps, 0, last) * stride  # (N, A)
        overlap = np.minimum(high, shape_high + shift) - np.maximum(low, shape_low + shift)
        shared *= np.maximum(overlap, 0)
    box_areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None]
    shape_areas = (grid.shapes_xyxy[:, 2:] - grid.shapes_xyxy[:, :2]).prod(axis=1)
    return (shared / (box_areas + shape_areas - shared)).max(axis=1)


def _find_resize(config: Config) -> Mapping[str, Any] | None:
    """Find the step of the test pipeline that resizes."""
    dataset = list_datasets(config).get("test", {})
    resizes = [step for step in dataset.get("pipeline", ()) if "Resize" in str(step["type"])]
    if not resizes:
        return None
    if len(resizes) > 1 or resizes[0]["type"] not in _INPUT_SIZES:
        names = ", ".join(str(step["type"]) for step in resizes)
        raise CellsegError(
            f"{config.filename}: the test pipeline resizes by {names}; anchor recall knows one "
            f"{' or '.join(_INPUT_SIZES)} only."
        )
    return dict(resizes[0])


def _size_of_resize(
    height: int,
    width: int,
    scale: int | tuple[int, int] | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    keep_ratio: bool = False,
    **_: Any,
) -> tuple[int, int]:
    """Compute the height and width that mmdet's Resize gives an image."""
    if scale is None:
        factors = (scale_factor,) * 2 if isinstance(scale_factor, int | float) else scale_factor
        if factors is None:
            raise CellsegError("Resize in the test pipeline has neither scale nor scale_factor.")
        scale = int(width * factors[0] + 0.5), int(height * factors[1] + 0.5)
    goal = (scale, scale) if isinstance(scale, int) else tuple(scale)
    new_width, new_height = rescale_size((width, height), goal) if keep_ratio else goal
    return int(new_height), int(new_width)


def _size_of_limited(
    height: int,
    width: int,
    ratio_range: tuple[float, float] = (1.0, 1.0),  # jitter would differ from image to image
    **settings: Any,
) -> tuple[int, int]:
    """Compute the height and width that LimitedResize gives an image, without jitter."""
    return limited_size(height, width, **settings)


_INPUT_SIZES: dict[str, Callable[..., tuple[int, int]]] = {
    "Resize": _size_of_resize,
    "LimitedResize": _size_of_limited,
}
