"""Files that version 0.1.0 wrote are still read, and give the figures that it gave."""

import json
import pickle
import shutil
from pathlib import Path

import mmengine.registry
import numpy as np
import pytest

from cellseg import registration
from cellseg.config_files import configs_folder
from cellseg.engine.configs import read_config
from cellseg.engine.data_source import open_data
from cellseg.formats.prediction_files import read_predictions
from cellseg.formats.prediction_set import join_results, list_truth
from cellseg.inference import Predictor
from cellseg.scoring.average_precision import compute_average_precision
from cellseg.scoring.metric import CellMetric
from cellseg.scoring.results import ImageResult

SAVED = Path(__file__).parent / "saved_by_0_1_0"
NAMES = ["round", "long"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return the data folder, where a cache may be written."""
    return Path(shutil.copytree(SAVED / "data", tmp_path / "data"))


def read_results(data: Path, predictions: Path) -> list[ImageResult]:
    """Read saved predictions."""
    images = list_truth(open_data(data, classes=NAMES))
    return join_results(images, read_predictions(predictions, images, NAMES))


def figures_of(data: Path, predictions: Path) -> dict[str, float]:
    """Score saved predictions as CellMetric does."""
    metric = CellMetric()
    metric.dataset_meta = {"classes": NAMES}
    return metric.compute_metrics(read_results(data, predictions))


def saved_figures() -> dict[str, float]:
    """Return the figures of 0.1.0, without the prefix."""
    return {
        key.removeprefix("coco/"): np.nan if value is None else value
        for key, value in json.loads((SAVED / "figures.json").read_text()).items()
    }


def test_results_json_when_written_by_0_1_0_then_the_figures_are_those_of_then(data: Path) -> None:
    figures, expected = figures_of(data, SAVED / "results.segm.json"), saved_figures()
    assert [key for key in figures if key in expected] == list(expected)  # newer ones beside them
    boxes = {key for key in expected if key.startswith("bbox")}  # the file holds masks
    for key in expected.keys() - boxes:
        assert figures[key] == pytest.approx(expected[key], abs=1e-12, nan_ok=True), key


def test_dump_when_written_by_0_1_0_then_the_metric_gives_all_figures_again() -> None:
    samples = pickle.loads((SAVED / "results.pkl").read_bytes())
    metric = CellMetric()
    metric.dataset_meta = {"classes": NAMES}
    metric.process({}, samples)
    figures, expected = metric.evaluate(len(samples)), saved_figures()
    assert {key: figures[f"coco/{key}"] for key in expected} == pytest.approx(
        expected, abs=1e-12, nan_ok=True
    )


def test_label_tiffs_when_written_by_0_1_0_then_they_hold_its_cells(data: Path) -> None:
    by_label_map = read_results(data, SAVED / "predicted")
    by_json = read_results(data, SAVED / "results.segm.json")
    for tiff, rows in zip(by_label_map, by_json, strict=True):
        sure = rows.predictions[rows.predictions.confidences >= 0.5]
        assert sorted(tiff.predictions.labels) == sorted(sure.labels)
    assert compute_average_precision(by_label_map, NAMES).means["mAP_50"] > 0.3


def test_checkpoint_when_written_by_0_1_0_then_it_finds_the_same_cells(data: Path) -> None:
    found = json.loads((SAVED / "found.json").read_text())
    every = {"model.test_cfg.rcnn.score_thr": 0.0}  # the weights are random
    predictor = Predictor(
        SAVED / "config.py", SAVED / "checkpoint.pth", score_thr=0.0, cfg_options=every
    )
    cells = predictor(data / "image0" / "image.tif")
    assert len(cells) == found["count"]
    np.testing.assert_allclose(cells.boxes[:20], found["boxes"], atol=1e-3)
    np.testing.assert_allclose(cells.scores[:20], found["scores"], atol=1e-5)
    assert cells.labels[:20].tolist() == found["labels"]


@pytest.mark.parametrize(
    "names", [["cell_dataset", "cell_schedule", "cell_runtime"], ["cell_coco_finetune"]]
)
@pytest.mark.parametrize("model", ["mask-rcnn_cell", "cascade-mask-rcnn_cell"])
def test_config_when_it_inherits_bases_of_0_1_0_then_it_is_read(
    tmp_path: Path, names: list[str], model: str
) -> None:
    path = tmp_path / "mine.py"
    folder = configs_folder() / "_base_"
    bases = [(folder / f"{name}.py").as_posix() for name in (model, *names)]
    path.write_text(f"_base_ = {bases}\n")
    config = read_config(path)
    assert config.train_dataloader.dataset
    assert config.optim_wrapper


def test_registries_when_asked_for_the_names_of_0_1_0_then_they_have_them() -> None:
    assert registration.__all__
    found: dict[str, set[str]] = {}
    for root in vars(mmengine.registry).values():
        if isinstance(root, mmengine.registry.Registry):
            for registry in (root, *root.children.values()):
                found.setdefault(root.name, set()).update(registry.module_dict)
    for registry, names in json.loads((SAVED / "registry_names.json").read_text()).items():
        assert set(names) <= found[registry], registry
