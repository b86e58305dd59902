"""A RoI extractor that keeps boxes exact under mixed precision, and is faster on a CPU."""

import torch
from mmcv.ops import RoIAlign
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor, nn

from .roi_align_rows import RowRoIAlign


@MODELS.register_module()
class Fp32SingleRoIExtractor(SingleRoIExtractor):
    """SingleRoIExtractor that takes features to float32 instead of boxes to the features' type.

    The stock extractor casts the RoIs to bfloat16 or float16 with the features, where x = 1017.2
    becomes 1016. mmcv's RoIAlign has no bfloat16 kernel on a CPU, and reads features as if they
    were contiguous: channels-last ones would silently give wrong values. So features become
    contiguous, too. With contiguous float32 features this is the stock extractor, without a copy.
    On a CPU RoIAlign is `RowRoIAlign`, equal but for the rounding of sums.
    """

    def build_roi_layers(self, layer_cfg: dict, featmap_strides: list[int]) -> nn.ModuleList:
        """Build one layer a level, with `RowRoIAlign` in the place of mmcv's RoIAlign.

        Args:
            layer_cfg: Type and settings of the layer.
            featmap_strides: Stride of each level in pixels.
        """
        layers = super().build_roi_layers(layer_cfg, featmap_strides)
        return nn.ModuleList(
            RowRoIAlign(
                layer.output_size,
                layer.spatial_scale,
                layer.sampling_ratio,
                layer.pool_mode,
                layer.aligned,
                layer.use_torchvision,
            )
            if type(layer) is RoIAlign
            else layer
            for layer in layers
        )

    def forward(
        self,
        feats: tuple[Tensor, ...],
        rois: Tensor,
        roi_scale_factor: float | None = None,
    ) -> Tensor:
        """Sample the features of each RoI.

        Args:
            feats: One (B, C, h, w) map a level, of any floating type and memory format.
            rois: (n, 5) image index, x1, y1, x2, y2 in pixels; n may be 0.
            roi_scale_factor: Factor on the RoIs' sizes.

        Returns:
            (n, C, side, side), float32 unless the features are float64.
        """
        feats = widen_features(feats)
        with torch.autocast(rois.device.type, enabled=False):
            return super().forward(feats, rois.to(feats[0].dtype).contiguous(), roi_scale_factor)


def widen_features(feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Make features contiguous and float32 (float64 stays); those that are, are not copied.

    Args:
        feats: One (B, C, h, w) map a level, of any floating type and memory format.

    Returns:
        The maps with the same shapes and values.
    """
    return tuple(
        level.to(
            torch.promote_types(level.dtype, torch.float32), memory_format=torch.contiguous_format
        )
        for level in feats
    )
