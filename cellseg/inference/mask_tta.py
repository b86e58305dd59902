"""Test-time augmentation with masks: merge rotated, flipped and resized copies of an image."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData
from numpy.typing import NDArray
from torch import Tensor

from cellseg.inference.merging import MergeMethod, merge_views
from cellseg.structures.cell_masks import CellMasks
from cellseg.structures.cells import Cells
from cellseg.structures.runs import Crop


class View(NamedTuple):
    """How an image is shown to the network: resized, turned by quarter turns, then mirrored.

    `turns` counts quarter turns counterclockwise, as in `numpy.rot90`; `mirrored` swaps left and
    right; `scale` is a factor on the size that the test pipeline gives the image.
    """

    turns: int
    mirrored: bool
    scale: float


@MODELS.register_module()
class CellTTAModel(BaseTTAModel):
    """Predict several views of each image and merge the cells, masks included.

    It takes the batches of the ordinary test pipeline and makes the views itself, so a config
    needs no `tta_pipeline`: `tta_model = dict(type="CellTTAModel", rotations=(0, 2))` changes the
    defaults.

    Args:
        module: The detector, built or as config.
        rotations: Quarter turns to look at.
        mirror: Whether to look at each of them mirrored, too.
        scales: Factors on the size of the network's input to look at.
        method: "wbf" averages boxes, scores and masks, "nms" keeps the highest-scoring cell.
        iou_thr: Mask IoU from which cells of two views are one.
        max_per_img: Most cells kept in an image; all when None.
        score_thr: Merged cells below this are dropped.
        data_preprocessor: As for BaseTTAModel.

    Raises:
        ValueError: If a rotation or scale makes no sense.
    """

    def __init__(
        self,
        module: dict[str, Any] | torch.nn.Module,
        rotations: Sequence[int] = (0, 1, 2, 3),
        mirror: bool = True,
        scales: Sequence[float] = (1.0,),
        method: MergeMethod = "wbf",
        iou_thr: float = 0.5,
        max_per_img: int | None = 1000,
        score_thr: float = 0.0,
        data_preprocessor: dict[str, Any] | torch.nn.Module | None = None,
    ) -> None:
        """Build the detector and list the views; see the class."""
        super().__init__(module, data_preprocessor)
        if not set(rotations) <= {0, 1, 2, 3} or not scales or min(scales) <= 0:
            raise ValueError(
                f"Test-time views need rotations among 0 to 3 and positive scales, not "
                f"{rotations}, {scales}."
            )
        mirrors = (False, True) if mirror else (False,)
        self.views = [View(*view) for view in itertools.product(rotations, mirrors, scales)]
        self.method: MergeMethod = method
        self.iou_thr = iou_thr
        self.max_per_img = max_per_img
        self.score_thr = score_thr

    def test_step(self, data: dict[str, Any]) -> list[DetDataSample]:
        """Predict all views of a batch and merge them.

        Args:
            data: `inputs`, B images (3, h, w) uint8, and their `data_samples`, as the test
                pipeline makes them.

        Returns:
            B data samples whose pred_instances hold the merged cells, masks as RLE list.
        """
        inputs, samples = list(data["inputs"]), list(data["data_samples"])
        predictions = []
        for view in self.views:
            shown = [
                show_view(image, sample, view)
                for image, sample in zip(inputs, samples, strict=True)
            ]
            batch = {
                "inputs": [pair[0] for pair in shown],
                "data_samples": [pair[1] for pair in shown],
            }
            predictions.append(self.module.test_step(batch))
        return self.merge_preds(list(zip(*predictions, strict=True)), samples)

    def merge_preds(
        self,
        data_samples_list: Sequence[Sequence[DetDataSample]],
        originals: Sequence[DetDataSample] | None = None,
    ) -> list[DetDataSample]:
        """Merge the views of each image.

        Args:
            data_samples_list: For each image its predictions, in the order of `views`.
            originals: The data samples to put the result in; the first view's when None.

        Returns:
            One data sample per image.
        """
        originals = originals or [views[0] for views in data_samples_list]
        return [
            merge_predictions(
                predicted,
                self.views,
                original,
                self.method,
                self.iou_thr,
                self.max_per_img,
                self.score_thr,
            )
            for predicted, original in zip(data_samples_list, originals, strict=True)
        ]


def merge_predictions(
    predicted: Sequence[DetDataSample],
    views: Sequence[View],
    original: DetDataSample,
    method: MergeMethod = "wbf",
    iou_thr: float = 0.5,
    max_per_img: int | None = None,
    score_thr: float = 0.0,
) -> DetDataSample:
    """Turn several predictions of one image back, and merge them.

    Args:
        predicted: One prediction a view.
        views: How each was shown.
        original: The image's data sample; `ori_shape` is read.
        method: As for `merge_views`.
        iou_thr: As for `merge_views`.
        max_per_img: Most cells kept; all when None.
        score_thr: Merged cells below this are dropped.

    Returns:
        A copy of original whose pred_instances hold the merged cells, masks as RLE list.
    """
    height, width = original.ori_shape[:2]
    turned = [
        turn_back(sample, view, height, width)
        for sample, view in zip(predicted, views, strict=True)
    ]
    merged = merge_views(turned, method, iou_thr)
    merged = merged[merged.confidences >= score_thr][:max_per_img]
    like = predicted[0].pred_instances.scores
    instances = InstanceData()
    instances.bboxes = torch.as_tensor(merged.boxes, device=like.device)
    instances.scores = torch.as_tensor(merged.scores, device=like.device)
    instances.labels = torch.as_tensor(merged.labels, device=like.device)
    instances.masks = merged.rles
    result = copy.copy(original)
    result.pred_instances = instances
    return result


def show_view(image: Tensor, sample: DetDataSample, view: View) -> tuple[Tensor, DetDataSample]:
    """Make one view of a packed image.

    Padding is cut off first, since it would change sides.

    Args:
        image: (3, h, w) uint8.
        sample: Its data sample; `ori_shape` and `scale_factor` (w, h) are read.
        view: The view.

    Returns:
        The turned image and a data sample that describes it.
    """
    height, width = sample.ori_shape[:2]
    scale_w, scale_h = sample.metainfo.get("scale_factor", (1.0, 1.0))[:2]
    image = image[:, : round(height * scale_h), : round(width * scale_w)]
    if view.scale != 1:
        size = [max(round(side * view.scale), 1) for side in image.shape[1:]]
        resized = torch.nn.functional.interpolate(
            image[None].float(),
            size,
            mode="bilinear",
            antialias=view.scale < 1,
            align_corners=False,
        )
        scale_h, scale_w = scale_h * size[0] / image.shape[1], scale_w * size[1] / image.shape[2]
        image = resized[0].round().clamp(0, 255).to(image.dtype)
    image = torch.rot90(image, view.turns, (1, 2))
    image = (image.flip(2) if view.mirrored else image).contiguous()
    if view.turns % 2:
        height, width, scale_h, scale_w = width, height, scale_w, scale_h
    shown = DetDataSample(
        metainfo={
            **sample.metainfo,
            "ori_shape": (height, width),
            "img_shape": tuple(image.shape[1:]),
            "scale_factor": (scale_w, scale_h),
            "flip": False,
            "flip_direction": None,
        }
    )
    return image, shown


def turn_back(sample: DetDataSample, view: View, height: int, width: int) -> Cells:
    """Turn the cells predicted in a view back into the image.

    Args:
        sample: The prediction, in the pixels of the turned image at its original size.
        view: The view.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        The cells in the pixels of the image; class names are left blank.
    """
    shown_height, shown_width = (width, height) if view.turns % 2 else (height, width)
    cells = Cells.from_prediction(sample.pred_instances, shown_height, shown_width)
    names = ("",) * (int(cells.labels.max(initial=-1)) + 1)
    cells = replace(cells[cells.areas > 0], class_names=names)
    if view.turns == 0 and not view.mirrored:
        return cells
    crops = cells.crops()
    boxes = cells.boxes.astype(np.float64)
    if view.mirrored:
        crops = [
            Crop(crop.mask[:, ::-1], shown_width - crop.x0 - crop.mask.shape[1], crop.y0)
            for crop in crops
        ]
        boxes = np.stack(
            (shown_width - boxes[:, 2], boxes[:, 1], shown_width - boxes[:, 0], boxes[:, 3]), axis=1
        )
    for _ in range(view.turns):
        crops, boxes = _turn_clockwise(crops, boxes, shown_height)
        shown_height, shown_width = shown_width, shown_height
    masks = CellMasks.from_crops(crops, height, width)
    return Cells(boxes.astype(np.float32), cells.scores, cells.labels, masks, height, width, names)


def _turn_clockwise(
    crops: list[Crop], boxes: NDArray[np.float64], height: int
) -> tuple[list[Crop], NDArray[np.float64]]:
    """Turn masks and boxes (N, 4) a quarter clockwise, in a frame of this height."""
    turned = [
        Crop(np.rot90(crop.mask, -1), height - crop.y0 - crop.mask.shape[0], crop.x0)
        for crop in crops
    ]
    x1, y1, x2, y2 = boxes.T
    return turned, np.stack((height - y2, x1, height - y1, x2), axis=1)
