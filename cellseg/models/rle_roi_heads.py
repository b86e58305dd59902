"""RoI heads that give a list of RLEs as masks, also where a batch holds no detection.

MMDetection's heads answer a batch without detections with (0, H, W) tensors, without asking the
mask head. Besides, these heads take the features to contiguous float32 once, in place of once for
each of their Fp32SingleRoIExtractors.
"""

from typing import Any

from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from cellseg.models.fp32_roi_extractor import widen_features


class RleMasksMixin:
    """Replace the masks of an image without detections; put it before the head's class."""

    def loss(self, x: tuple[Tensor, ...], *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Compute the head's losses from features (B, C, h, w), one map a level."""
        return super().loss(widen_features(x), *args, **kwargs)  # type: ignore[misc]

    def predict(self, x: tuple[Tensor, ...], *args: Any, **kwargs: Any) -> list[InstanceData]:
        """Detect from features (B, C, h, w), one map a level."""
        return super().predict(widen_features(x), *args, **kwargs)  # type: ignore[misc]

    def predict_mask(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict],
        results_list: list[InstanceData],
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Predict the masks of detected boxes.

        Args:
            x: Feature maps (B, C, h, w), one a level.
            batch_img_metas: For each image its `ori_shape` and `scale_factor`.
            results_list: For each image `bboxes` (n, 4) and `labels` (n,); n may be 0.
            rescale: Whether boxes and masks go to the original image's pixels.

        Returns:
            The results with `masks`, a list of n RLEs, from a CroppedMaskHead.
        """
        results_list = super().predict_mask(  # type: ignore[misc]
            x, batch_img_metas, results_list, rescale=rescale
        )
        for results in results_list:
            if not len(results.bboxes):
                results.masks = []
        return results_list


@MODELS.register_module()
class RleRoIHead(RleMasksMixin, StandardRoIHead):
    """StandardRoIHead for a CroppedMaskHead."""


@MODELS.register_module()
class RleCascadeRoIHead(RleMasksMixin, CascadeRoIHead):
    """CascadeRoIHead for CroppedMaskHeads.

    MMDetection's head flips the masks of a flipped image back before it averages its stages,
    although boxes and masks are still those of the flipped image (and fails, by a negative step).
    Here the stages are averaged as they are.
    """

    def predict_mask(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict],
        results_list: list[InstanceData],
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Predict masks as RleMasksMixin does, in the frame of the image as it was shown."""
        batch_img_metas = [{**meta, "flip": False} for meta in batch_img_metas]
        return super().predict_mask(x, batch_img_metas, results_list, rescale=rescale)
