"""A shipped model finds the cells of images of any scale, as if the true one had been given."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cellseg.datasets.synthetic import draw_cell_image
from cellseg.errors import CellsegError
from cellseg.images import ArraySource, open_image, read_label_map
from cellseg.inference import Predictor
from cellseg.inference.scale_choice import ScaleChoice
from cellseg.model_files import find_default_model
from cellseg.scoring.matching import match_cells, overlap_masks
from cellseg.structures.cells import Cells

EXAMPLES = Path(__file__).resolve().parents[2] / "data" / "examples" / "val"
LARGEST_LOSS = 0.05


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    try:
        return Predictor(find_default_model(), device="cpu")
    except CellsegError:
        pytest.skip("no model comes with this checkout")


def read_examples() -> list[tuple[NDArray[np.uint8], NDArray[np.integer]]]:
    """Read images and label maps of three real images and a drawn one."""
    found = []
    for folder in sorted(EXAMPLES.glob("*/"))[1:]:
        with open_image(folder / "image.tif", {"channel_order": "rgb"}) as source:
            image = source.read(0, 0, source.width, source.height).copy()
        found.append((image, read_label_map(folder / "class1.tif")))
    image, layers = draw_cell_image(np.random.default_rng(1), 320, 320, 60)
    return [*found, (image, np.maximum.reduce(list(layers.values())))]


def measure_recall(cells: Cells, truth: Cells) -> float:
    assert cells.masks is not None
    assert truth.masks is not None
    return len(match_cells(overlap_masks(truth.masks, cells.masks), 0.5)) / len(truth)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0, 4.0])
def test_recall_when_the_scale_is_chosen_then_is_nearly_that_of_the_true_one(predictor, factor):
    record = predictor.model_source.record
    assert record is not None
    assert record.median_diameter_px is not None
    chosen, true = [], []
    for image, label_map in read_examples():
        size = [round(side * factor) for side in image.shape[1::-1]]
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        source = ArraySource(cv2.resize(image, size, interpolation=how))
        labels = cv2.resize(label_map.astype(np.int32), size, interpolation=cv2.INTER_NEAREST)
        truth = Cells.from_label_map(labels, class_names=("nucleus",))
        median = float(np.median(np.sqrt(truth.areas * 4 / np.pi)))
        best = ScaleChoice(record.median_diameter_px / median, "true")
        chosen.append(measure_recall(predictor.predict_source(source), truth))
        true.append(measure_recall(predictor.predict_source(source, None, best), truth))
    assert np.mean(chosen) >= np.mean(true) - LARGEST_LOSS
