"""Draw training samples as the network gets them, several on a page. Everything here is RGB."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from mmdet.structures import DetDataSample
from numpy.typing import NDArray

from cellseg.palette import Color, color_of
from cellseg.structures.cells import Cells
from cellseg.structures.label_map_masks import LabelMapMasks
from cellseg.visualization.cell_visualizer import find_ground_truth
from cellseg.visualization.overlays import draw_outlines
from cellseg.visualization.panels import CaptionEntry, draw_caption, resize_for_display

_READABLE_PX = 15  # cells that are displayed smaller have no room for an id
_GAP_PX = 8
_PAPER = 255


@dataclass(frozen=True)
class PageStyle:
    """How samples are drawn.

    Attributes:
        class_names: The classes in order.
        palette: RGB color of each class.
        tile_px: Longer side of each sample on the page.
        ids: 'always', 'never', or 'auto': where cells are large enough to read them.
    """

    class_names: Sequence[str]
    palette: Sequence[Color]
    tile_px: int = 640
    ids: str = "auto"


def draw_sample(sample: Mapping[str, Any], style: PageStyle) -> NDArray[np.uint8]:
    """Draw one packed sample: its image, outlines colored by class, ids, and counts.

    Args:
        sample: `inputs` (3, H, W) uint8 tensor as B, G, R, and `data_samples`, as PackDetInputs
            makes them.
        style: How to draw.

    Returns:
        (h, w, 3) uint8, the caption on top.
    """
    image = np.ascontiguousarray(sample["inputs"].numpy().transpose(1, 2, 0)[..., ::-1])
    data_sample: DetDataSample = sample["data_samples"]
    cells, ids, cell_scale = _find_cells(data_sample, (image.shape[0], image.shape[1]))
    shown, scale = resize_for_display(image, style.tile_px, style.tile_px)
    scale *= cell_scale
    boxes = cells.boxes * scale
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    readable = len(sides) > 0 and bool(np.median(sides) >= _READABLE_PX)
    width = 2 if readable else None
    crops = [] if cells.masks is None else cells.crops()
    shown = draw_outlines(shown, crops, cells.labels, style.palette, None, scale, width)
    if style.ids == "always" or (style.ids == "auto" and readable):
        _write_ids(shown, (boxes[:, :2] + boxes[:, 2:]) / 2, ids)
    title = f"{data_sample.get('img_name', data_sample.get('img_id', ''))}, "
    title += f"{image.shape[1]} x {image.shape[0]} px, {int((cells.labels >= 0).sum())} cells"
    caption = draw_caption(title, _count_classes(cells.labels, style), shown.shape[1])
    return np.concatenate((caption, shown), axis=0)


def arrange_page(tiles: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Lay tiles out in rows.

    Args:
        tiles: At least one (h, w, 3) uint8; sizes may differ.
        columns: Tiles in a row.

    Returns:
        (H, W, 3) uint8 page.
    """
    rows = []
    for start in range(0, len(tiles), columns):
        row = tiles[start : start + columns]
        height = max(tile.shape[0] for tile in row) + _GAP_PX
        rows.append(np.concatenate([_grow(t, height, t.shape[1] + _GAP_PX) for t in row], axis=1))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([_grow(row, row.shape[0], width) for row in rows], axis=0)


def _find_cells(
    data_sample: DetDataSample, shape: tuple[int, int]
) -> tuple[Cells, list[int], float]:
    """Find the cells of a sample, their ids, and the input's size in units of the cells' frame."""
    cells = find_ground_truth(data_sample, shape)
    if cells is None:
        return Cells.empty(*shape, ()), [], 1.0
    instances = data_sample.get("instances")
    if (cells.height, cells.width) == shape and "gt_instances" in data_sample:
        sets = (data_sample.gt_instances, data_sample.get("ignored_instances"))
        masks = [own.get("masks") for own in sets if own is not None]
        ids = [i for own in masks if isinstance(own, LabelMapMasks) for i in own.label_ids.tolist()]
        if len(ids) == len(cells):
            return cells, ids, 1.0
    if instances is not None and len(instances) == len(cells):
        scale = data_sample.img_shape[1] / data_sample.ori_shape[1]
        return cells, [int(cell.get("label_id", n)) for n, cell in enumerate(instances)], scale
    return cells, list(range(len(cells))), 1.0


def _count_classes(labels: NDArray[np.int64], style: PageStyle) -> list[CaptionEntry]:
    """Say how many cells of each class there are."""
    present = np.unique(labels).tolist()
    names = {-1: "ignored", **dict(enumerate(style.class_names))}
    return [
        CaptionEntry(
            f"{names.get(label, label)}: {int((labels == label).sum())}",
            color_of(label, style.palette),
        )
        for label in sorted(present, key=lambda label: (label < 0, label))
    ]


def _write_ids(image: NDArray[np.uint8], centers: NDArray[np.floating], ids: Sequence[int]) -> None:
    """Write the id of each cell at its center, light on dark."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.3
    for (x, y), cell_id in zip(centers.tolist(), ids, strict=True):
        (width, height), _ = cv2.getTextSize(str(cell_id), font, size, 1)
        place = (round(x - width / 2), round(y + height / 2))
        for color, thickness in (((0, 0, 0), 2), ((255, 255, 255), 1)):
            cv2.putText(image, str(cell_id), place, font, size, color, thickness, cv2.LINE_AA)


def _grow(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Add paper below and to the right."""
    below, right = height - image.shape[0], width - image.shape[1]
    return np.pad(image, ((0, below), (0, right), (0, 0)), constant_values=_PAPER)
