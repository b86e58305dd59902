"""Load an entry of `CellDataset` for training: its image once, its label maps as they are."""

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from scipy import ndimage

from cellseg.datasets.ignored_boxes import cut_into_boxes
from cellseg.datasets.image_records import read_layers
from cellseg.images import DEFAULT_MAX_PIXELS, read_cell_image
from cellseg.structures.label_map_masks import LabelMapMasks


@TRANSFORMS.register_module()
class LoadCellImage(BaseTransform):
    """Read the image of an entry as 8-bit blue, green, red.

    Required keys: `img_path`, `image_format` (optional). Added keys: `img` (H, W, 3) uint8 in the
    order B, G, R, `img_shape` and `ori_shape` (H, W).

    Args:
        to_float32: Whether to make the image float32, for transforms that need it.
    """

    def __init__(self, to_float32: bool = False) -> None:
        """Keep the options."""
        self.to_float32 = to_float32

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the image to an entry.

        Raises:
            CellDataError: If the file cannot be read.
        """
        image = read_cell_image(results["img_path"], results.get("image_format"))
        results["img"] = image.astype(np.float32) if self.to_float32 else image
        results["img_shape"] = image.shape[:2]
        results["ori_shape"] = image.shape[:2]
        return results

    def __repr__(self) -> str:
        """Return the call that builds this transform."""
        return f"{type(self).__name__}(to_float32={self.to_float32})"


@TRANSFORMS.register_module()
class LoadLabelMaps(BaseTransform):
    """Read the label maps of an entry; no mask of a single cell is made.

    Regions to ignore are cut into pieces that fill their boxes; see `cut_into_boxes`.

    Required keys: `label_paths`, `instances`, `height`, `width`. Added keys: `gt_bboxes`
    HorizontalBoxes (N, 4) float32 in pixels, `gt_bboxes_labels` (N,) int64, -1 for regions to
    ignore, which come last, `gt_ignore_flags` (N,) bool and `gt_masks` LabelMapMasks of N; N may
    be 0.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add boxes, classes and masks to an entry.

        Raises:
            CellDataError: If a file cannot be read, or its shape is no longer the image's.
        """
        instances = results["instances"]
        shape = (results["height"], results["width"])
        ignored_layers = {cell["layer"] for cell in instances if cell["ignore_flag"]}
        paths = results["label_paths"]
        layers = read_layers(
            paths,
            [-1 if layer in ignored_layers else 0 for layer in range(len(paths))],
            shape,
            (results.get("image_format") or {}).get("max_pixels", DEFAULT_MAX_PIXELS),
        )
        instances = [cell for cell in instances if not cell["ignore_flag"]]
        for index in sorted(ignored_layers):
            layers[index] = cut_into_boxes(layers[index])
            instances += _list_pieces(layers[index], index)
        boxes = np.array([cell["bbox"] for cell in instances], dtype=np.float32).reshape(-1, 4)
        results["gt_bboxes"] = HorizontalBoxes(torch.from_numpy(boxes))
        results["gt_bboxes_labels"] = _gather(instances, "bbox_label")
        results["gt_ignore_flags"] = _gather(instances, "ignore_flag").astype(bool)
        results["gt_masks"] = LabelMapMasks(
            np.stack(layers) if layers else np.zeros((0, *shape), dtype=np.int32),
            _gather(instances, "layer"),
            _gather(instances, "label_id"),
        )
        return results

    def __repr__(self) -> str:
        """Return the call that builds this transform."""
        return f"{type(self).__name__}()"


def _list_pieces(label_map: np.ndarray, layer: int) -> list[dict[str, Any]]:
    """List the pieces of regions to ignore as instances."""
    return [
        {
            "bbox": [columns.start, rows.start, columns.stop, rows.stop],
            "bbox_label": -1,
            "ignore_flag": 1,
            "layer": layer,
            "label_id": number,
        }
        for number, (rows, columns) in enumerate(ndimage.find_objects(label_map), start=1)
    ]


def _gather(instances: list[dict[str, Any]], key: str) -> np.ndarray:
    """Collect one number of each instance as (N,) int64."""
    return np.array([cell[key] for cell in instances], dtype=np.int64)
