"""Images of 2 x 3000 pixels: cells are found in them, and models trained on them."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellseg.images import open_image
from cellseg.inference import Predictor
from tests.robustness.kills import find_half_files, run

THIN = [(2, 3000), (3000, 2), (1, 1), (1, 5000)]

TRAINED = ("--work-dir", "trained")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """Return a model that comes with cellseg."""
    return Predictor("nuclei-cc0", device="cpu")


def draw(height: int, width: int) -> np.ndarray:
    """Draw (height, width, 3) uint8 R, G, B: dark stripes on pink."""
    image = np.full((height, width, 3), (240, 200, 220), np.uint8)
    image[:, 5::20] = image[5::20] = (90, 40, 110)
    return image


@pytest.mark.parametrize(("height", "width"), THIN)
def test_prediction_when_an_image_is_thin_then_its_cells_fit_into_it(
    predictor: Predictor, tmp_path: Path, height: int, width: int
) -> None:
    path = tmp_path / "thin.tif"
    tifffile.imwrite(path, draw(height, width), photometric="rgb")
    for image in (draw(height, width), path):
        cells = predictor(image)
        assert (cells.height, cells.width) == (height, width)
        assert cells.label_map().shape == (height, width)
    with open_image(path) as source:
        assert (source.height, source.width) == (height, width)


@pytest.mark.slow
def test_commands_when_images_are_thin_then_they_train_a_step_and_predict(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number, (height, width) in enumerate(THIN[:2]):
            folder = tmp_path / "data" / split / str(number)
            folder.mkdir(parents=True)
            tifffile.imwrite(folder / "image.tif", draw(height, width), photometric="rgb")
            labels = np.zeros((height, width), np.int32)
            labels[:20, :20] = 1
            labels[-1:, -1:] = 2
            tifffile.imwrite(folder / "class1.tif", labels)
    run(tmp_path, "train", "--from", "nuclei-cc0", "--data", "data", "--steps", "1", *TRAINED)
    assert (tmp_path / "trained" / "last_checkpoint").is_file()
    formats = ("--format", "labels", "geojson", "csv", "coco", "overlay")
    model = ("--model", "nuclei-cc0", "--out", "predicted")
    run(tmp_path, "predict", "data/train", *model, *formats)
    assert len(list((tmp_path / "predicted").rglob("*.geojson"))) == 2
    assert list(find_half_files(tmp_path)) == []
