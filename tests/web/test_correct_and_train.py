"""Predict, correct 20 cells by script, take the data away, train on them: better on that image."""

import io
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellseg.images import read_label_map
from cellseg.inference import Predictor
from cellseg.model_files import list_models
from cellseg.scoring import score_label_maps
from cellseg.structures.cells import Cells
from cellseg.web.cell_edits import make_step
from cellseg.web.page_images import OpenImages, PageImage
from cellseg.web.prediction import PredictionQueue
from cellseg.web.rings import decode_rings, encode_masks
from cellseg.web.takeaway import CellFilter, collect_cells
from cellseg.web.training_data import ReviewedImage, write_training_data

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "data" / "examples" / "val" / "ae570a676961"
MODEL = "nuclei-cc0"
SCORE = 0.5
CORRECTIONS = 20
MISSED, ROUGH = 0.3, 0.7  # IoU below which a nucleus was missed, or its outline is redrawn
STEPS = 60


class Corrector:
    """A person who knows where the nuclei are, and corrects an image on the page."""

    def __init__(self, queue: PredictionQueue, image: PageImage, truth: np.ndarray) -> None:
        self.queue, self.image, self.truth = queue, image, truth
        self.log = queue.images.open(image).log

    def predict(self) -> None:
        self.queue.start(self.image, None, None)
        while (self.queue.describe(self.image, 0) or {})["state"] != "done":
            time.sleep(0.1)

    def shown(self) -> list[Any]:
        return [c for c in self.log.cells.values() if CellFilter(SCORE).keeps(c)]

    def edit(self, **action: Any) -> None:
        self.log.apply(make_step(self.log, self.image.canvas(1), action))

    def correct(self) -> None:
        """Correct 20 cells from left to right; mark what lies left of the next mistake."""
        mistakes = sorted(self.find_mistakes(), key=lambda mistake: mistake[0])
        for _, action in mistakes[:CORRECTIONS]:
            self.edit(**action)
        height, width = self.truth.shape
        right = mistakes[CORRECTIONS][0] if len(mistakes) > CORRECTIONS else width
        self.edit(do="review", points=[[0, 0], [right, 0], [right, height], [0, height]])

    def find_mistakes(self) -> list[tuple[int, dict[str, Any]]]:
        """List the left side of each mistake, and what corrects it."""
        mistakes: list[tuple[int, dict[str, Any]]] = []
        nuclei = Cells.from_label_map(self.truth)
        shown = {cell.key: cell for cell in self.shown()}
        best, used = self.match(), set()
        for index, outline in enumerate(encode_masks(nuclei.get_masks())):
            key, left = int(best[index, 0]), int(nuclei.boxes[index, 0])
            points = _trace(outline[0])
            if best[index, 1] < MISSED or key in used:
                mistakes.append((left, {"do": "draw", "label": 0, "points": points}))
                continue
            used.add(key)
            if best[index, 1] < ROUGH:
                left = min(left, shown[key].box[0])
                mistakes.append((left, {"do": "redraw", "keys": [key], "points": points}))
        for key, cell in shown.items():
            if key not in used:
                mistakes.append((cell.box[0], {"do": "delete", "keys": [key]}))
        return mistakes

    def match(self) -> np.ndarray:
        """Find for each nucleus the shown cell that fits best: (N, 2) key and IoU."""
        best = np.zeros((int(self.truth.max()) and len(np.unique(self.truth)) - 1, 2))
        sizes = dict(zip(*np.unique(self.truth, return_counts=True), strict=True))
        places = {number: i for i, number in enumerate(k for k in sizes if k)}
        for cell in self.shown():
            crop = decode_rings(cell.rings)
            rows, columns = crop.mask.shape
            below = self.truth[crop.y0 : crop.y0 + rows, crop.x0 : crop.x0 + columns][crop.mask]
            for number, shared in zip(*np.unique(below, return_counts=True), strict=True):
                if number:
                    iou = shared / (cell.area + sizes[number] - shared)
                    if iou > best[places[number], 1]:
                        best[places[number]] = cell.key, iou
        return best

    def export(self, folder: Path) -> Path:
        opened = self.queue.images.open(self.image)
        content = io.BytesIO()
        reviewed = ReviewedImage("image", opened, self.shown(), self.log.regions)
        write_training_data([reviewed], self.queue.finder.class_names, content)
        with zipfile.ZipFile(content) as archive:
            archive.extractall(folder)
        return folder / "training-data"


def _trace(ring: list[int]) -> list[list[int]]:
    """Return the corners of a ring."""
    x, y = ring[:2]
    points = [[x, y]]
    for place, step in enumerate(ring[2:]):
        x, y = (x + step, y) if place % 2 == 0 else (x, y + step)
        points.append([x, y])
    return points


def score(predictor: Predictor, truth: np.ndarray) -> dict[str, float]:
    cells = predictor(EXAMPLE / "image.tif")
    cells = cells[cells.confidences >= SCORE]
    values = score_label_maps(truth, cells.label_map()).any_class.values
    return {name: values[name] for name in ("AJI", "PQ", "F1_50")}


@pytest.mark.slow
def test_page_when_20_cells_are_corrected_and_trained_on_then_that_image_is_predicted_better(
    tmp_path: Path,
) -> None:
    if MODEL not in list_models():
        pytest.skip(f"the model {MODEL} is not there")
    truth = read_label_map(EXAMPLE / "class1.tif")
    predictor = Predictor(MODEL, score_thr=0.05, device="cpu")
    before = score(predictor, truth)
    queue = PredictionQueue(predictor, OpenImages(predictor.image_format, predictor.class_names))
    image = PageImage("k", "image.tif", EXAMPLE / "image.tif", tmp_path / "corrections")
    person = Corrector(queue, image, truth)
    person.predict()
    person.correct()
    cells = collect_cells(person.shown(), queue.images.open(image), predictor.class_names)
    corrected = score_label_maps(truth, cells.label_map()).any_class.values
    assert corrected["AJI"] > before["AJI"]
    data = person.export(tmp_path)
    queue.close()
    command = [sys.executable, "-m", "cellseg", "train", "--from", MODEL, "--data", str(data)]
    command += ["--steps", str(STEPS), "--work-dir", str(tmp_path / "work")]
    command += ["--cfg-options", "randomness.seed=0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stderr[-2000:]
    after = score(Predictor(tmp_path / "work", score_thr=0.05, device="cpu"), truth)
    told = f"before {before}, corrected {corrected['AJI']:.3f}, after {after}"
    (tmp_path / "scores.txt").write_text(told)
    assert all(after[name] > before[name] for name in before), told
