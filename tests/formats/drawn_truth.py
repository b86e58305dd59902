"""Two drawn images with ground truth, and the figures of predictions for them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellseg.formats.prediction_files import read_predictions
from cellseg.formats.prediction_set import TruthImage, join_results
from cellseg.scoring.counts import count_scene
from cellseg.scoring.scene import build_result_scene
from cellseg.scoring.scores import compute_scores
from cellseg.structures.cells import Cells

NAMES = ["lymphocyte", "macrophage"]
SHAPE = (20, 30)


def draw_labels(seed: int = 0) -> NDArray[np.int32]:
    """Draw blocks of cells."""
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 9, (4, 6)), np.ones((5, 5))).astype(np.int32)


def make_truth(name: str, img_id: int, *layers: NDArray[np.int32]) -> TruthImage:
    """Make an image with one layer per class."""
    parts = [Cells.from_label_map(layer, label, NAMES) for label, layer in enumerate(layers)]
    return TruthImage(img_id, name, Cells.concatenate(parts))


IMAGES = [make_truth("s/a", 3, draw_labels(1), draw_labels(2)), make_truth("b", 5, draw_labels(3))]


def figures_of(path: Path, pattern: str | None = None) -> dict[str, float]:
    """Score predictions from files."""
    results = join_results(IMAGES, read_predictions(path, IMAGES, NAMES, pattern))
    counts = [count_scene(build_result_scene(result, len(NAMES))) for result in results]
    return compute_scores(counts, NAMES).to_dict()
