"""The main job through its two tools, as a user types it, on a handful of drawn cells."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.config import Config

from cellseg.cli.tasks.test import request_overlays, request_results
from cellseg.datasets.synthetic import SamplePlan, draw_sample_set
from cellseg.errors import CellsegError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/cell/mask-rcnn_r18_small-anchor_demo.py"


def run_tool(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a tool from the repository's root and return what it printed."""
    command = [sys.executable, *map(str, words)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def data_options(root: Path) -> list[str]:
    """Point every dataloader at a drawn data set."""
    return [
        f"train_dataloader.dataset.data_root={root}/train",
        f"val_dataloader.dataset.data_root={root}/val",
        f"test_dataloader.dataset.data_root={root}/val",
    ]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training images and one to judge on, 96 px."""
    root = tmp_path_factory.mktemp("data")
    draw_sample_set(root, SamplePlan(num_train=2, num_val=1, size_px=96, num_cells=8))
    return root


@pytest.fixture(scope="module")
def work_dir(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch, then resumed to two."""
    folder = tmp_path_factory.mktemp("run")
    common = [*data_options(data_root), "train_cfg.val_interval=1"]
    common += ["default_hooks.checkpoint.interval=1", "default_hooks.logger.interval=1"]
    for epochs in (1, 2):
        options = [*common, f"train_cfg.max_epochs={epochs}"]
        done = run_tool(
            "tools/train.py", CONFIG, "--work-dir", folder, "--resume", "--cfg-options", *options
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_train_when_resumed_then_goes_on_to_the_last_epoch(work_dir: Path) -> None:
    """The second start reads epoch 1's checkpoint and writes epoch 2's."""
    assert (work_dir / "last_checkpoint").read_text().endswith("epoch_2.pth")
    logs = "".join(path.read_text() for path in sorted(work_dir.glob("*/*.log")))
    assert "resumed epoch: 1, iter: 1" in logs
    checkpoint = torch.load(work_dir / "epoch_2.pth", weights_only=False)
    assert checkpoint["meta"]["epoch"] == 2


@pytest.mark.slow
def test_test_when_out_and_show_dir_given_then_writes_results_and_overlays(
    work_dir: Path, data_root: Path, tmp_path: Path
) -> None:
    """COCO results lie beside the dump; overlays are named by image, not image.tif."""
    out = tmp_path / "results.pkl"
    options = [*data_options(data_root), "model.test_cfg.rcnn.score_thr=0.0"]
    done = run_tool(
        *("tools/test.py", CONFIG, work_dir / "epoch_2.pth", "--work-dir", tmp_path / "test"),
        *("--out", out, "--show-dir", "overlays", "--tta", "--cfg-options", *options),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert out.is_file()
    rows = json.loads((tmp_path / "results.segm.json").read_text())
    assert rows
    assert {row["image_id"] for row in rows} == {1}
    assert all(isinstance(row["segmentation"]["counts"], str) for row in rows)
    assert [path.name for path in tmp_path.glob("test/*/overlays/*")] == ["val_0000.png"]


@pytest.mark.slow
def test_test_when_the_checkpoint_is_of_another_model_then_one_sentence_and_no_score(
    data_root: Path, tmp_path: Path
) -> None:
    """Without workers, too: persistent ones of the config are turned off."""
    checkpoint = tmp_path / "other.pth"
    torch.save({"meta": {}, "state_dict": {"line.weight": torch.ones(1)}}, checkpoint)
    options = [*data_options(data_root), "test_dataloader.num_workers=0"]
    done = run_tool(
        *("tools/test.py", CONFIG, checkpoint, "--work-dir", tmp_path / "test"),
        *("--cfg-options", *options),
    )
    assert done.returncode == 1
    assert "does not fit the config" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Epoch(test)" not in done.stdout  # no score was printed


@pytest.mark.slow
def test_train_when_data_is_missing_then_one_sentence(tmp_path: Path) -> None:
    """A wrong data folder ends before training, with its name and no traceback."""
    done = run_tool(
        *("tools/train.py", CONFIG, "--work-dir", tmp_path / "run"),
        *("--cfg-options", *data_options(tmp_path / "nothing")),
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "nothing" / "train") in done.stderr.rpartition("error:")[2]


@pytest.mark.slow
def test_test_when_out_has_another_suffix_then_one_sentence(tmp_path: Path) -> None:
    """--out says which suffixes it knows before any image is read."""
    done = run_tool("tools/test.py", CONFIG, "none.pth", "--out", tmp_path / "results.csv")
    assert done.returncode == 1
    assert "must end in .pkl" in done.stderr


@pytest.mark.parametrize("is_list", [False, True])
@pytest.mark.parametrize("suffix", [".pkl", ".json"])
def test_test_when_out_is_given_then_the_cell_metric_writes_it(is_list: bool, suffix: str) -> None:
    """The evaluators may be one or several; the dump of a .pkl comes last."""
    metric, other = dict(type="CellMetric", max_dets=7), dict(type="CocoMetric")
    cfg = Config(dict(test_evaluator=[other, metric] if is_list else metric))
    request_results(cfg, f"out/results{suffix}")
    found = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    dump = [dict(type="DumpCellResults", out_file_path="out/results.pkl")]
    assert found == [
        *([other] if is_list else []),
        dict(**metric, outfile_prefix="out/results"),
        *(dump if suffix == ".pkl" else []),
    ]


def test_test_when_no_cell_metric_can_write_results_then_says_so() -> None:
    cfg = Config(dict(test_evaluator=dict(type="CocoMetric")))
    with pytest.raises(CellsegError, match="needs a CellMetric in test_evaluator"):
        request_results(cfg, "results.json")


def test_test_when_asked_to_show_then_each_image_gets_a_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cfg = Config.fromfile(ROOT / CONFIG)
    request_overlays(cfg, Namespace(show=True, wait_time=0.5, show_dir=None))
    hook = HOOKS.build(cfg.default_hooks.visualization)
    monkeypatch.setattr(type(hook), "_draw", lambda *_: np.zeros((2, 2, 3), np.uint8))
    runner = SimpleNamespace(visualizer=MagicMock())
    samples = [SimpleNamespace(img_path=f"{name}/image.tif", get=dict().get) for name in "ab"]
    hook.after_test_iter(runner, 0, None, samples)
    shown = runner.visualizer.show.call_args_list
    assert [call.kwargs for call in shown] == [dict(win_name=n, wait_time=0.5) for n in "ab"]
    runner.visualizer.add_image.assert_not_called()
