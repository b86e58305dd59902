"""Hold predictions of a data set, whatever files they came from, and join them with the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cellseg.scoring.results import ImageResult
from cellseg.structures.cells import Cells


@dataclass(frozen=True)
class TruthImage:
    """What is known of one image that predictions are compared with; see `list_truth`."""

    img_id: int
    name: str
    cells: Cells

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.cells.height

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.cells.width


@dataclass(frozen=True)
class PredictionSet:
    """Predictions of a data set.

    Attributes:
        by_image: Image id to its predictions; an image without an entry has none.
        absent: Names of the images for which the files hold nothing.
        has_scores: Whether the tool gave confidences; without, each counts as 1.0.
        has_classes: Whether the tool gave classes; without, all labels are 0.
    """

    by_image: dict[int, Cells]
    absent: list[str]
    has_scores: bool = True
    has_classes: bool = True


def list_truth(dataset: Any) -> list[TruthImage]:
    """List the images of a CellDataset, in its order."""
    classes = tuple(dataset.metainfo["classes"])
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    return [
        TruthImage(
            info["img_id"],
            info["img_name"],
            Cells.from_instances(info["instances"], info["height"], info["width"], classes),
        )
        for info in infos
    ]


def join_results(images: Sequence[TruthImage], predictions: PredictionSet) -> list[ImageResult]:
    """Join ground truth and predictions of each image, in the order of the images."""
    results = []
    for image in images:
        found = predictions.by_image.get(image.img_id)
        if found is None:
            found = Cells.empty(image.height, image.width, image.cells.class_names)
        results.append(ImageResult(image.img_id, image.height, image.width, found, image.cells))
    return results
