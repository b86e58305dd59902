"""Find the cells of an image's label maps, and write them as `instances` of a data set entry.

Pure: arrays and dicts in, arrays and dicts out; files are read in `cellseg.images`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cellseg.structures.rle import RLE, encode_label_map


@dataclass
class LayerInstances:
    """The cells of all layers of an image, layer after layer, ids ascending within one.

    `boxes_xyxy` (N, 4) int64 in pixels, x2 and y2 exclusive; `areas` (N,) int64 in pixels; `layers`
    (N,) int64 index of the layer; `label_ids` (N,) int64; `rles` N masks. N may be 0.
    """

    boxes_xyxy: NDArray[np.int64]
    areas: NDArray[np.int64]
    layers: NDArray[np.int64]
    label_ids: NDArray[np.int64]
    rles: list[RLE]


def find_instances(layers: Sequence[NDArray[np.integer]]) -> LayerInstances:
    """Find every cell of an image's label maps, with one pass a map.

    Args:
        layers: L label maps (H, W); L may be 0.

    Returns:
        All cells; an id that lies in several pieces is one cell.
    """
    found = [encode_label_map(layer) for layer in layers]
    counts = [len(ids) for ids, _, _, _ in found]
    no_numbers = np.zeros(0, dtype=np.int64)
    return LayerInstances(
        boxes_xyxy=np.concatenate([no_numbers.reshape(0, 4), *(part[1] for part in found)]),
        areas=np.concatenate([no_numbers, *(part[2] for part in found)]),
        layers=np.repeat(np.arange(len(layers), dtype=np.int64), counts),
        label_ids=np.concatenate([no_numbers, *(part[0] for part in found)]),
        rles=[rle for part in found for rle in part[3]],
    )


def count_overlap_px(layers: Sequence[NDArray[np.integer]]) -> int:
    """Count the pixels that more than one label map claims.

    Args:
        layers: Label maps of one shape (H, W); may be empty.

    Returns:
        Number of pixels that are foreground in two maps or more.
    """
    if len(layers) < 2:
        return 0
    claimed = layers[0] > 0
    twice = np.zeros_like(claimed)
    for layer in layers[1:]:
        is_cell = layer > 0
        twice |= claimed & is_cell
        claimed |= is_cell
    return int(np.count_nonzero(twice))


def split_pieces(label_map: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give each connected piece an id of its own, so that every region gets a tight box.

    Regions to ignore are often drawn as one yes/no mask, whose single box would cover the image.

    Args:
        label_map: (H, W) label map.

    Returns:
        (H, W) int32. The map as it is where each id already is one piece (diagonal neighbors
        touch); otherwise pieces are numbered 1, 2, ... by id, then in reading order.
    """
    is_region = label_map > 0
    ids = np.unique(label_map[is_region])
    compact = np.where(is_region, np.searchsorted(ids, label_map) + 1, 0)
    pieces = np.zeros_like(label_map)
    num_pieces = 0
    for number, box in enumerate(ndimage.find_objects(compact), start=1):
        numbered, count = ndimage.label(compact[box] == number, np.ones((3, 3)))
        pieces[box] += np.where(numbered > 0, numbered + num_pieces, 0).astype(pieces.dtype)
        num_pieces += count
    return label_map if num_pieces == len(ids) else pieces


def to_data_instances(
    found: LayerInstances, layer_classes: Sequence[int], min_area_px: int = 1
) -> list[dict[str, Any]]:
    """Write cells as the `instances` of a data set entry.

    Args:
        found: The cells of an image.
        layer_classes: Class index of each layer; -1 for regions to ignore.
        min_area_px: Smaller cells are dropped, in pixels; regions to ignore never are.

    Returns:
        A dict a cell: `bbox` [x1, y1, x2, y2] in pixels, x2 and y2 exclusive; `bbox_label` class
        index, -1 for a region to ignore; `ignore_flag` 0 or 1; `area` in pixels; `mask` RLE;
        `layer` and `label_id`, which find the cell in its label map.
    """
    columns = zip(
        found.boxes_xyxy.tolist(),
        found.areas.tolist(),
        found.layers.tolist(),
        found.label_ids.tolist(),
        found.rles,
        strict=True,
    )
    return [
        {
            "bbox": box,
            "bbox_label": layer_classes[layer],
            "ignore_flag": int(layer_classes[layer] < 0),
            "area": area,
            "mask": rle,
            "layer": layer,
            "label_id": label_id,
        }
        for box, area, layer, label_id, rle in columns
        if area >= min_area_px or layer_classes[layer] < 0
    ]
