"""Scores reach MLflow and Weights & Biases, without a network."""

import importlib.util

import pytest
from mmengine.config import Config
from mmengine.visualization import Visualizer

from cellseg.engine.tracking import enable_tracking
from cellseg.errors import CellsegError


def make_config(work_dir, **settings) -> Config:
    backends = [dict(type="LocalVisBackend")]
    return Config(dict(work_dir=str(work_dir), visualizer=dict(vis_backends=backends), **settings))


def log_score(config: Config, tmp_path) -> None:
    """Log as the Runner does."""
    own = config.visualizer.vis_backends[-1]
    visualizer = Visualizer(vis_backends=[own], save_dir=str(tmp_path / "vis_data"))
    visualizer.add_config(Config(dict(work_dir=config.work_dir)))
    visualizer.add_scalars({"AP50": 0.75}, step=3)
    visualizer.close()


def test_tracking_when_the_package_is_absent_then_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CellsegError, match="pip install mlflow"):
        enable_tracking(make_config(tmp_path), "mlflow")


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_tracking_when_enabled_then_is_added_once(tmp_path, monkeypatch, tracker):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    config = make_config(tmp_path / "mine" / "run")
    for _ in range(2):
        enable_tracking(config, tracker)
    local, own = config.visualizer.vis_backends
    assert local.type == "LocalVisBackend"
    assert (own.get("run_name") or own.init_kwargs.name) == "mine"
    with pytest.raises(CellsegError, match="needs a visualizer"):
        enable_tracking(Config(dict(work_dir="w")), tracker)


def test_mlflow_when_there_is_no_server_then_writes_into_the_work_folder(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = make_config(tmp_path / "run")
    enable_tracking(config, "mlflow")
    log_score(config, tmp_path)
    (scores,) = (tmp_path / "run" / "mlruns").glob("*/*/metrics/AP50")
    assert scores.read_text().split()[1:] == ["0.75", "3"]


def test_wandb_when_offline_then_writes_into_the_work_folder(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    (tmp_path / "run").mkdir()
    config = make_config(tmp_path / "run")
    enable_tracking(config, "wandb")
    log_score(config, tmp_path)
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
