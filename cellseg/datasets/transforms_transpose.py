"""Transpose an image and its label maps: with flips, every rotation by a quarter turn."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes

from cellseg.structures.label_map_masks import LabelMapMasks


@TRANSFORMS.register_module()
class RandomTranspose(BaseTransform):
    """Swap rows and columns of some images.

    A quarter turn is a transposition and a flip: with `prob=0.5`, followed by a `RandomFlip` of
    `prob=0.75` in the directions horizontal, vertical and diagonal, all eight ways in which a
    square can lie come out equally often.

    Required and modified keys: `img` (H, W, 3), `img_shape`, and where they are there `gt_bboxes`
    HorizontalBoxes (N, 4), `gt_masks` LabelMapMasks and `scale_factor`.

    Args:
        prob: The share of images to transpose.

    Raises:
        ValueError: If prob is no probability.
    """

    def __init__(self, prob: float = 0.5) -> None:
        """Check and keep the probability."""
        if not 0 <= prob <= 1:
            raise ValueError(f"RandomTranspose needs 0 <= prob <= 1, not {prob}.")
        self.prob = prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Transpose an entry, or leave it as it is."""
        if not self._draw():
            return results
        results["img"] = np.ascontiguousarray(results["img"].swapaxes(0, 1))
        results["img_shape"] = results["img"].shape[:2]
        if "gt_bboxes" in results:
            boxes = results["gt_bboxes"]
            results["gt_bboxes"] = HorizontalBoxes(boxes.tensor[:, [1, 0, 3, 2]])
        if "gt_masks" in results:
            masks = results["gt_masks"]
            layers = np.ascontiguousarray(masks.layers.swapaxes(1, 2))
            results["gt_masks"] = LabelMapMasks(layers, masks.layer_inds, masks.label_ids)
        if "scale_factor" in results:
            results["scale_factor"] = results["scale_factor"][::-1]
        return results

    @cache_randomness
    def _draw(self) -> bool:
        """Draw whether to transpose, from numpy's seed."""
        return bool(np.random.random() < self.prob)

    def __repr__(self) -> str:
        """Return the call that builds this transform."""
        return f"{type(self).__name__}(prob={self.prob})"
