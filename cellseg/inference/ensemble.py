"""Several models as one: each predicts, and their cells are merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseModel

from cellseg.inference.mask_tta import View, merge_predictions
from cellseg.inference.merging import MergeMethod

_AS_IT_IS = View(turns=0, mirrored=False, scale=1.0)


class CellEnsemble(BaseModel):
    """Predict with every model and merge the cells, masks included.

    A cell's score is the mean over all models, one that missed it counting 0; so cells that only
    one of several models finds fall below the score threshold.

    Args:
        models: Detectors of the same classes.
        method: "wbf" averages boxes, scores and masks, "nms" keeps the highest-scoring cell.
        iou_thr: Mask IoU from which cells of two models are one.

    Raises:
        ValueError: If there is no model.
    """

    def __init__(
        self,
        models: Sequence[torch.nn.Module],
        method: MergeMethod = "wbf",
        iou_thr: float = 0.5,
    ) -> None:
        """Keep the models; see the class."""
        super().__init__()
        if not models:
            raise ValueError("An ensemble needs at least one model.")
        self.models = torch.nn.ModuleList(models)
        self.method: MergeMethod = method
        self.iou_thr = iou_thr

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "predict") -> Any:
        """Predict; an ensemble is not trained."""
        return self.test_step({"inputs": inputs, "data_samples": data_samples})

    def test_step(self, data: dict[str, Any]) -> list[DetDataSample]:
        """Predict a batch with every model and merge.

        Args:
            data: `inputs`, B images (3, h, w) uint8, and their `data_samples`.

        Returns:
            B data samples whose pred_instances hold the merged cells, masks as RLE list.
        """
        inputs, samples = list(data["inputs"]), list(data["data_samples"])
        predictions = [
            model.test_step(
                {"inputs": list(inputs), "data_samples": [sample.clone() for sample in samples]}
            )
            for model in self.models
        ]
        views = [_AS_IT_IS] * len(self.models)
        return [
            merge_predictions(list(found), views, sample, self.method, self.iou_thr)
            for found, sample in zip(zip(*predictions, strict=True), samples, strict=True)
        ]
