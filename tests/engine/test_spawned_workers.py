"""Training and prediction where processes start afresh, as on Windows and macOS."""

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cellseg.datasets.image_records import ImageFiles
from cellseg.datasets.record_loading import load_records
from cellseg.datasets.synthetic import SamplePlan, draw_sample_set
from cellseg.engine.configs import list_datasets

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/cell/mask-rcnn_r18_small-anchor_demo.py"
# Python runs this at the start of the tool and of each of its workers.
LIKE_WINDOWS = """
import multiprocessing, os, signal, subprocess, sys, types
for name in ("fcntl", "grp", "pwd", "termios"):  # MMEngine imports resource unless on Windows
    sys.modules[name] = None
for module, names in ((os, "fork killpg sched_getaffinity O_NOFOLLOW"), (signal, "SIGHUP SIGALRM")):
    for name in names.split():
        delattr(module, name)
msvcrt = types.SimpleNamespace(LK_NBLCK=2, locking=lambda descriptor, mode, count: None)
sys.modules["msvcrt"] = msvcrt
"""


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training images and one to test on, 96 px, in a folder with a space in its name."""
    root = tmp_path_factory.mktemp("my data")
    draw_sample_set(root, SamplePlan(num_train=2, num_val=1, size_px=96, num_cells=8))
    return root


def run_like_windows(folder: Path, *words: object) -> str:
    """Run a tool without fork and other parts of POSIX, and return what it printed."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(LIKE_WINDOWS, "utf-8")
    places = [str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "configs/cell").glob("*.py")), ids=lambda p: p.stem)
def test_dataset_when_pickled_then_a_worker_can_load_its_images(
    path: Path, data_root: Path
) -> None:
    cfg = Config.fromfile(path)
    init_default_scope("mmdet")
    dataset_cfg = cfg.train_dataloader.dataset
    if "datasets" in dataset_cfg:  # the first is what the config is for
        dataset_cfg.datasets = dataset_cfg.datasets[:1]
    inner = list_datasets(cfg)["train"]
    inner.update(data_root=str(data_root / "train"), num_folds=0, metainfo=None, label_names=None)
    dataset = DATASETS.build(dataset_cfg)
    copy = pickle.loads(pickle.dumps(dataset))
    assert len(copy) == len(dataset)
    assert copy[0]["inputs"].shape[0] == 3


@pytest.mark.slow
def test_load_records_when_in_a_spawned_process_then_as_here(data_root: Path) -> None:
    folder = data_root / "train" / "train_0000"
    files = ImageFiles("a", 1, data_root, folder / "image.tif", (folder / "class1.tif",), (0,))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        (record,) = pool.submit(load_records, [files], data_root / "cache").result()
    (expected,) = load_records([files], cache=False)
    np.testing.assert_array_equal(record.instances.boxes_xyxy, expected.instances.boxes_xyxy)
    assert list((data_root / "cache").glob("*.npz"))


@pytest.mark.slow
def test_tools_when_there_is_no_fork_then_train_test_and_predict(
    data_root: Path, tmp_path: Path
) -> None:
    folds = ["env_cfg.mp_cfg.mp_start_method=spawn"]
    folds += [
        f"{name}_dataloader.dataset.data_root={data_root / part}"
        for name, part in (("train", "train"), ("val", "val"), ("test", "val"))
    ]
    run = tmp_path / "run"
    training = ["train_cfg.max_epochs=2", "train_cfg.val_interval=2"]
    training += ["default_hooks.checkpoint.interval=2"]
    text = run_like_windows(
        *(tmp_path / "site", "tools/train.py", CONFIG, "--verbose", "--work-dir", run),
        *("--cfg-options", *folds, *training),
    )
    assert "coco/segm_mAP_50" in text
    checkpoint = run / "epoch_2.pth"
    text = run_like_windows(
        *(tmp_path / "site", "tools/test.py", CONFIG, checkpoint, "--work-dir", tmp_path / "test"),
        *("--cfg-options", *folds),
    )
    assert "coco/segm_mAP_50" in text
    image = next((data_root / "val").glob("*/image.tif"))
    out = tmp_path / "out"
    run_like_windows(
        *(tmp_path / "site", "tools/predict.py", CONFIG, checkpoint, image, "--out", out),
    )
    (record,) = out.glob("*.done.json")
    assert json.loads(record.read_text("utf-8"))["height"] == 96
