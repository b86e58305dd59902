"""Box heads whose predictions are float32 under mixed precision.

Their layers run in the lower precision; only what they predict is widened, before boxes are
decoded and losses computed. The stock RPN lays its anchors in the type of its scores, so that under
bfloat16 proposals past x = 512 move by up to 2 pixels, and past 1024 by up to 4.
"""

from typing import Any

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from mmdet.registry import MODELS
from torch import Tensor


class Fp32PredictionsMixin:
    """Widen what a head's `forward` returns to float32; put it before the head's class."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the head and widen each tensor it returns, in whatever lists and tuples."""
        return _widen(super().forward(*args, **kwargs))  # type: ignore[misc]  # the head's own


@MODELS.register_module()
class Fp32RPNHead(Fp32PredictionsMixin, RPNHead):
    """RPNHead whose anchors, proposals and losses are float32 under mixed precision."""


@MODELS.register_module()
class Fp32Shared2FCBBoxHead(Fp32PredictionsMixin, Shared2FCBBoxHead):
    """Shared2FCBBoxHead whose boxes and losses are float32 under mixed precision."""


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
