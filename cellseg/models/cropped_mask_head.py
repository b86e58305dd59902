"""A mask head whose predictions are run-length encodings, never full-size bitmaps."""

from typing import Any

import numpy as np
import torch
from mmcv.cnn import ConvModule
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from cellseg.models.fused_convolutions import (
    FusedConv2d,
    FusedUpsampling,
    is_plain_convolution,
)
from cellseg.models.mask_pasting import paste_and_encode


@MODELS.register_module()
class CroppedMaskHead(FCNMaskHead):
    """FCNMaskHead that predicts COCO RLEs from the box-sized crops.

    The pixels are those of FCNMaskHead on a CPU, also on a GPU (where FCNMaskHead fills the
    whole image for a box without area, and looks a few pixels farther beyond a large box, which
    only shows with a `mask_thr_binary` under 0.5). Logits are float32 under mixed precision.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Build the layers of FCNMaskHead."""
        super().__init__(*args, **kwargs)
        self._upsampling: FusedUpsampling | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Predict float32 mask logits (n, num_classes, h, w) from RoI features."""
        if self._upsampling is None:
            return super().forward(x).float()
        for layer in self.convs:
            x = layer(x)
        return self._upsampling(x).float()

    def fuse(self) -> None:
        """Fuse convolutions with the ReLU after each; see `fuse_activations`."""
        for index, layer in enumerate(self.convs):
            if isinstance(layer, ConvModule) and _can_fuse(layer):
                self.convs[index] = FusedConv2d(layer.conv, "relu")
        if FusedUpsampling.can_replace(self.upsample, self.conv_logits):
            self._upsampling = FusedUpsampling(self.upsample, self.conv_logits)

    def predict_by_feat(
        self,
        mask_preds: tuple[Tensor, ...],
        results_list: list[InstanceData],
        batch_img_metas: list[dict],
        rcnn_test_cfg: ConfigDict,
        rescale: bool = False,
        activate_map: bool = False,
    ) -> list[InstanceData]:
        """Turn mask logits into one RLE a detection.

        Args:
            mask_preds: For each image (n, num_classes, h, w) logits, or probabilities with
                `activate_map`.
            results_list: For each image `bboxes` (n, 4) in pixels of the network's input, and
                `labels` (n,); n may be 0.
            batch_img_metas: For each image `ori_shape` and `scale_factor`.
            rcnn_test_cfg: Holds `mask_thr_binary`, 0 or more.
            rescale: Whether boxes and masks go to the original image's pixels.
            activate_map: Whether `mask_preds` are probabilities already.

        Returns:
            The results with `masks`, a list of n RLEs, and with `bboxes` rescaled if so asked.

        Raises:
            ValueError: If `mask_thr_binary` is negative, FCNMaskHead's sign for soft masks.
        """
        threshold = rcnn_test_cfg.mask_thr_binary
        if threshold < 0:
            raise ValueError(
                f"CroppedMaskHead gives binary masks only, but mask_thr_binary is {threshold}; "
                "set it to 0 or more in model.test_cfg.rcnn, or use FCNMaskHead for soft masks."
            )
        for preds, results, meta in zip(mask_preds, results_list, batch_img_metas, strict=True):
            if not len(results.bboxes):
                results.masks = []
                continue
            probabilities = self._select_probabilities(preds, results, activate_map)
            height, width = _place_boxes(results, meta, rescale)
            results.masks = paste_and_encode(
                probabilities, results.bboxes, height, width, threshold
            )
        return results_list

    def _select_probabilities(
        self, preds: Tensor | np.ndarray, results: InstanceData, activate_map: bool
    ) -> Tensor:
        """Take the probabilities (n, h, w) of each detection's own class."""
        preds = torch.as_tensor(preds, dtype=torch.float32, device=results.bboxes.device)
        if self.class_agnostic:
            preds = preds[:, 0]
        else:
            preds = preds[torch.arange(len(preds), device=preds.device), results.labels]
        return preds if activate_map else preds.sigmoid()


def _can_fuse(layer: ConvModule) -> bool:
    """Return whether a layer is a convolution and a ReLU, with no norm but a folded one."""
    return (
        is_plain_convolution(layer.conv)
        and not layer.with_explicit_padding
        and layer.order == ("conv", "norm", "act")
        and (not layer.with_norm or isinstance(layer.norm, nn.Identity))
        and layer.with_activation
        and isinstance(layer.activate, nn.ReLU)
    )


def _place_boxes(results: InstanceData, meta: dict, rescale: bool) -> tuple[int, int]:
    """Rescale the boxes if asked, and tell the height and width of the image they lie in."""
    height, width = (int(side) for side in meta["ori_shape"][:2])
    scale_factor = results.bboxes.new_tensor(meta["scale_factor"]).repeat(1, 2)  # (1, 4)
    if rescale:
        results.bboxes = results.bboxes / scale_factor
        return height, width
    width_scale, height_scale = scale_factor[0, :2].tolist()
    return int(np.round(height * height_scale)), int(np.round(width * width_scale))
