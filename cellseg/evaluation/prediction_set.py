"""Hold predictions of a data set, whatever files they came from, and join them with the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellseg.evaluation.cell_metric import parse_ground_truth
from cellseg.evaluation.coco_results import ImageResult, Predictions


@dataclass(frozen=True)
class TruthImage:
    """What is known of one image that predictions are compared with; see `list_truth`."""

    img_id: int
    name: str
    height: int
    width: int
    instances: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class PredictionSet:
    """Predictions of a data set.

    Attributes:
        by_image: Image id to its predictions; an image without an entry has none.
        absent: Names of the images for which the files hold nothing.
        has_scores: Whether the tool gave confidences; without, each counts as 1.0.
        has_classes: Whether the tool gave classes; without, all labels are 0.
    """

    by_image: dict[int, Predictions]
    absent: list[str]
    has_scores: bool = True
    has_classes: bool = True


def list_truth(dataset: Any) -> list[TruthImage]:
    """List the images of a CellDataset, in its order."""
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    return [
        TruthImage(i["img_id"], i["img_name"], i["height"], i["width"], i["instances"])
        for i in infos
    ]


def join_results(images: Sequence[TruthImage], predictions: PredictionSet) -> list[ImageResult]:
    """Join ground truth and predictions of each image, in the order of the images."""
    nothing = Predictions(np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=np.int64), [])
    return [
        ImageResult(
            image.img_id,
            image.height,
            image.width,
            predictions.by_image.get(image.img_id, nothing),
            parse_ground_truth([dict(instance) for instance in image.instances]),
        )
        for image in images
    ]
