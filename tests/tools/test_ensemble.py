"""Result files merge image by image; a file merged alone stays what it is."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cellseg.datasets.synthetic import SamplePlan, draw_sample_set
from cellseg.engine.data_source import open_data
from cellseg.structures.rle import encode_crop

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    draw_sample_set(root, SamplePlan(num_train=2, num_val=1, size_px=96, num_cells=8))
    return root / "train"


def make_row(image_id: int, x: int, score: float, side: int = 12) -> dict:
    mask = encode_crop(np.ones((side, side), dtype=bool), x, 20, 96, 96)
    box = [x, 20, side, side]
    return dict(image_id=image_id, category_id=1, bbox=box, score=score, segmentation=mask)


def merge(tmp_path: Path, data_root: Path, files: list[list[dict]], *words: str):
    paths = []
    for number, rows in enumerate(files):
        paths.append(tmp_path / f"model{number}.json")
        paths[-1].write_text(json.dumps(rows))
    out = tmp_path / "out" / "ensemble.segm.json"
    command = [sys.executable, "tools/ensemble.py", data_root, *paths, "--out", out, *words]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done, json.loads(out.read_text()) if out.exists() else None


@pytest.mark.slow
def test_ensemble_when_two_models_agree_then_one_cell_of_their_mean_score(
    tmp_path: Path, data_root: Path
) -> None:
    one, two = (info["img_id"] for info in open_data(data_root, "test").load_data_list())
    files = [[make_row(one, 10, 0.9), make_row(two, 40, 0.6)], [make_row(one, 10, 0.7)]]
    done, rows = merge(tmp_path, data_root, files)
    assert done.returncode == 0, done.stderr[-2000:]
    by_image = {row["image_id"]: row for row in rows}
    assert len(rows) == 2
    assert by_image[one]["score"] == pytest.approx(0.8)
    assert by_image[one]["segmentation"]["counts"] == files[0][0]["segmentation"]["counts"]
    assert by_image[two]["score"] == pytest.approx(0.3)  # the other model missed it
    assert "2 cells in 2 images, from 2 files" in done.stdout


def test_ensemble_when_weights_are_too_few_then_one_sentence(
    tmp_path: Path, data_root: Path
) -> None:
    done, rows = merge(tmp_path, data_root, [[], []], "--weights", "1")
    assert (done.returncode, rows) == (1, None)
    assert "--weights needs 2 positive numbers" in done.stderr
