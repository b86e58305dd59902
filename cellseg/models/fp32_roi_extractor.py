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

    MMDetection's extractor casts RoIs to bfloat16 or float16 with the features, where x = 1017.2
    becomes 1016. mmcv's RoIAlign has no bfloat16 kernel on a CPU, and reads features as if they
    were contiguous: channels-last ones would silently give wrong values. Here RoIAlign is
    `RowRoIAlign`, which reads either, equal but for the rounding of sums; other layers get
    contiguous features. With contiguous float32 features both are the same.
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
        rois = rois.to(torch.promote_types(feats[0].dtype, torch.float32)).contiguous()
        with torch.autocast(rois.device.type, enabled=False):
            if torch.is_grad_enabled() or not len(rois):
                return super().forward(widen_features(feats), rois, roi_scale_factor)
            return self._sample(widen_features(feats), rois, roi_scale_factor)

    def _sample(
        self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None
    ) -> Tensor:
        """Sample without gradients, as MMDetection does but without writing zeros first."""
        levels = self.map_roi_levels(rois, len(feats))
        if roi_scale_factor is not None:
            rois = self.roi_rescale(rois, roi_scale_factor)
        parts, places = [], []
        for level, (layer, features) in enumerate(zip(self.roi_layers, feats, strict=False)):
            inds = (levels == level).nonzero()[:, 0]
            if not isinstance(layer, RowRoIAlign):
                features = features.contiguous()
            if len(inds) == len(rois):
                return layer(features, rois)
            if len(inds):
                parts.append(layer(features, rois[inds]))
                places.append(inds)
        is_last = parts[0].is_contiguous(memory_format=torch.channels_last)
        sampled = torch.empty(
            (len(rois), *parts[0].shape[1:]),
            dtype=parts[0].dtype,
            device=parts[0].device,
            memory_format=torch.channels_last if is_last else torch.contiguous_format,
        )
        for inds, part in zip(places, parts, strict=True):
            sampled[inds] = part
        return sampled


def widen_features(feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Make features float32 (float64 stays), and contiguous where gradients are computed.

    Without gradients channels-last features stay so: RoIAlign reads the features pixel by pixel.
    Features that are as wanted are not copied.

    Args:
        feats: One (B, C, h, w) map a level, of any floating type and memory format.

    Returns:
        The maps with the same shapes and values.
    """
    layout = torch.contiguous_format if torch.is_grad_enabled() else torch.preserve_format
    return tuple(
        level.to(torch.promote_types(level.dtype, torch.float32), memory_format=layout)
        for level in feats
    )
