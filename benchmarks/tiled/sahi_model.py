"""SAHI's sliced prediction around the same network, where SAHI is installed."""

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sahi.models.mmdet import MmdetDetectionModel
from sahi.predict import get_sliced_prediction

from cellseg.inference import Cells, Predictor
from cellseg.structures.runs import Crop


class _Network:
    """What SAHI's adapter of MMDetection asks of a model, answered by a predictor."""

    def __init__(self, predictor: Predictor) -> None:
        """Keep the predictor; it must predict images whole."""
        self._predictor = predictor
        self.model = SimpleNamespace(dataset_meta={"classes": predictor.class_names})
        with_masks = {"type": "CellDataset", "pipeline": [{"with_mask": True}]}
        self.cfg = {"train_dataloader": {"dataset": with_masks}}

    def __call__(self, images: list[NDArray[np.uint8]]) -> dict[str, Any]:
        """Predict slices."""
        found = [
            self._predictor(np.ascontiguousarray(image), channel_order="bgr") for image in images
        ]
        return {
            "predictions": [
                {
                    "bboxes": cells.boxes.tolist(),
                    "scores": cells.scores.tolist(),
                    "labels": cells.labels.tolist(),
                    "masks": cells.rles,
                }
                for cells in found
            ]
        }


def predict_sliced(
    predictor: Predictor, image: NDArray[np.uint8], tile_px: int, overlap_px: int
) -> Cells:
    """Predict an image with SAHI's slicing and merging, at its defaults but for size and overlap.

    Args:
        predictor: Predicts slices whole.
        image: (H, W, 3) uint8 B, G, R.
        tile_px: Side of a slice in pixels.
        overlap_px: Overlap of slices in pixels.

    Returns:
        The cells; their masks are SAHI's polygons, filled.
    """
    model = MmdetDetectionModel(
        model=_Network(predictor), confidence_threshold=predictor.score_thr, device="cpu"
    )
    result = get_sliced_prediction(
        image[..., ::-1],  # SAHI's images are R, G, B; its adapter turns them back
        model,
        slice_height=tile_px,
        slice_width=tile_px,
        overlap_height_ratio=overlap_px / tile_px,
        overlap_width_ratio=overlap_px / tile_px,
        perform_standard_pred=False,
        verbose=0,
    )
    found = result.object_prediction_list
    like = Cells.empty(*image.shape[:2], predictor.class_names)
    crops = [_fill(cell.mask.segmentation) for cell in found]
    scores = [float(cell.score.value) for cell in found]
    return Cells.from_crops(crops, scores, [int(cell.category.id) for cell in found], like)


def _fill(polygons: list[list[float]]) -> Crop:
    """Fill a cell's polygons, whose corners are pixels of the cell."""
    rings = [np.round(np.reshape(ring, (-1, 2))).astype(np.int32) for ring in polygons]
    corners = np.concatenate(rings)
    x0, y0 = corners.min(axis=0).tolist()
    width, height = (corners.max(axis=0) - (x0, y0) + 1).tolist()
    mask = np.zeros((height, width), np.uint8)
    for ring in rings:
        cv2.fillPoly(mask, [ring - (x0, y0)], 1)
    return Crop(mask.astype(bool), x0, y0)
