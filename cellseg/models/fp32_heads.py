"""Box heads whose predictions are float32 under mixed precision, and an RPN that sorts less.

Their layers run in the lower precision; only what they predict is widened, before boxes are
decoded and losses computed. MMDetection's RPN makes its anchors in the type of its scores, so that
under bfloat16 proposals past x = 512 move by up to 2 pixels, and past 1024 by up to 4.
"""

from typing import Any

import numpy as np
import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn import functional

from cellseg.models.fused_convolutions import FusedConv2d
from cellseg.ops.nms import is_on_cpu, rank


class Fp32PredictionsMixin:
    """Widen what a head's `forward` returns to float32; put it before the head's class."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the head and widen each tensor it returns, in whatever lists and tuples."""
        return _widen(super().forward(*args, **kwargs))  # type: ignore[misc]  # the head's own


@MODELS.register_module()
class Fp32RPNHead(Fp32PredictionsMixin, RPNHead):
    """RPNHead whose anchors, proposals and losses are float32 under mixed precision.

    MMDetection's head sorts the scores of all anchors, half a million on 1024 x 1024 px, to take
    the best 4,000 of a level. Here, in prediction on a CPU, the best are picked out first; the
    proposals are equal.
    """

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the scores (B, A, h, w) and deltas (B, 4 * A, h, w) of one level's anchors."""
        convolution: nn.Module = self.rpn_conv
        features = convolution(x)
        if not isinstance(convolution, FusedConv2d):
            features = functional.relu(features)
        return self.rpn_cls(features), self.rpn_reg(features)

    def fuse(self) -> None:
        """Fuse the convolution with the ReLU after it; see `fuse_activations`."""
        if type(convolution := self.rpn_conv) is nn.Conv2d:
            self.rpn_conv: nn.Module = FusedConv2d(convolution, "relu")

    def _predict_by_feat_single(
        self,
        cls_score_list: list[Tensor],
        bbox_pred_list: list[Tensor],
        score_factor_list: list[Tensor],
        mlvl_priors: list[Tensor],
        img_meta: dict,
        cfg: ConfigDict | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> InstanceData:
        """Make one image's proposals as MMDetection's head does, of each level's best anchors."""
        settings = self.test_cfg if cfg is None else cfg
        most = settings.get("nms_pre", -1)
        is_plain = not self.training and self.use_sigmoid_cls
        if most > 1 and is_plain and is_on_cpu(cls_score_list[0]):
            triples = zip(cls_score_list, bbox_pred_list, mlvl_priors, strict=True)
            kept = [_keep_best(*level, most) for level in triples]
            cls_score_list, bbox_pred_list, mlvl_priors = (
                list(part) for part in zip(*kept, strict=True)
            )
        return super()._predict_by_feat_single(
            cls_score_list,
            bbox_pred_list,
            score_factor_list,
            mlvl_priors,
            img_meta,
            cfg,
            *args,
            **kwargs,
        )


@MODELS.register_module()
class Fp32Shared2FCBBoxHead(Fp32PredictionsMixin, Shared2FCBBoxHead):
    """Shared2FCBBoxHead whose boxes and losses are float32 under mixed precision."""

    _goes_by_pixel = False

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the class scores and deltas of RoIs from their features (n, C, h, w)."""
        predictions: tuple[Tensor, Tensor] = super().forward(
            x.permute(0, 2, 3, 1) if self._goes_by_pixel else x
        )
        return predictions

    def fuse(self) -> None:
        """Let the first layer read channels-last features as they lie; see `fuse_activations`."""
        if self._goes_by_pixel or self.num_shared_convs or self.with_avg_pool:
            return
        first = self.shared_fcs[0]
        weight = first.weight.detach().unflatten(1, (self.in_channels, -1)).transpose(1, 2)
        first.weight = nn.Parameter(weight.flatten(1).contiguous(), requires_grad=False)
        self._goes_by_pixel = True


@MODELS.register_module()
class Fp32Shared4Conv1FCBBoxHead(Fp32PredictionsMixin, Shared4Conv1FCBBoxHead):
    """Shared4Conv1FCBBoxHead whose boxes and losses are float32 under mixed precision."""


def _widen(predictions: Any) -> Any:
    """Take tensors in nested lists and tuples to float32 where they are narrower."""
    if isinstance(predictions, Tensor):
        return predictions.to(torch.promote_types(predictions.dtype, torch.float32))
    if isinstance(predictions, list | tuple):
        return type(predictions)(_widen(part) for part in predictions)
    return predictions


def _keep_best(
    logits: Tensor, deltas: Tensor, priors: Tensor, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Keep a level's anchors of the highest scores, in falling order; all where they are few.

    Args:
        logits: (A, h, w) of one level's A anchors per place.
        deltas: (4 * A, h, w).
        priors: (h * w * A, 4) anchors.
        most: How many to keep.

    Returns:
        (1, 1, k) logits, (4, 1, k) deltas and (k, 4) anchors; or what was given.
    """
    if logits.numel() <= most:
        return logits, deltas, priors
    logits = logits.permute(1, 2, 0).reshape(-1)  # in the order of the anchors
    best = _find_best(logits.sigmoid(), most)
    deltas = deltas.permute(1, 2, 0).reshape(-1, 4)[best]
    return logits[best].view(1, 1, -1), deltas.t().reshape(4, 1, -1), priors[best]


def _find_best(scores: Tensor, most: int) -> Tensor:
    """Return the places (most,) of the highest of (n,) scores, as a stable sort has them."""
    values = scores.detach().float().numpy()
    least = np.partition(values, len(values) - most)[len(values) - most]
    candidates = np.flatnonzero(values >= least)
    return torch.from_numpy(candidates[rank(values[candidates])[:most]])
