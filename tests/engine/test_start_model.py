"""A config starts from a model and gets its network."""

from pathlib import Path

import pytest
from mmengine.config import Config

from cellseg.engine.configs import read_config
from cellseg.engine.start_model import copy_network, find_start_model, set_start_model
from cellseg.errors import CellsegError

from ..inference.test_publishing import checkpoint, folder  # noqa: F401
from .test_record_hook import write_disks

BASE = Path(__file__).resolve().parents[2] / "configs" / "_base_" / "cell_fine_tune.py"


def write_config(tmp_path: Path, start: object, scale: float = 1.5) -> Path:
    path = tmp_path / "own.py"
    data = (tmp_path / "data").as_posix()
    path.write_text(
        f"_base_ = {BASE.as_posix()!r}\n"
        f"start_from = {str(start)!r}\n"
        f"cell_scale = {scale}\n"
        f"_data = dict(data_root={data!r}, num_folds=2)\n"
        "train_dataloader = dict(dataset=dict(times=2, dataset=_data))\n"
        "val_dataloader = dict(dataset=_data)\n"
        "test_dataloader = val_dataloader\n"
    )
    return path


def test_config_when_it_starts_from_a_model_then_has_its_network_and_the_data_classes(
    folder,  # noqa: F811
    tmp_path,
):
    write_disks(tmp_path / "data", None)
    (tmp_path / "data" / "dataset.json").write_text('{"version": 1, "classes": ["a", "b"]}')
    config = read_config(write_config(tmp_path, folder))
    assert config.load_from == str(folder)
    assert config.model.type == find_start_model(folder).record.network["type"]
    assert config.model.roi_head.bbox_head.num_classes == 2
    assert config.train_dataloader.dataset.dataset.metainfo["classes"] == ("a", "b")
    assert config.test_dataloader.dataset.pipeline[1].scale_factor == 1.5


def test_config_when_an_option_changes_the_scale_then_the_pipelines_follow(
    folder,  # noqa: F811
    tmp_path,
):
    write_disks(tmp_path / "data", None)
    config = read_config(write_config(tmp_path, folder), {"cell_scale": 0.5})
    assert config.val_dataloader.dataset.pipeline[1].scale_factor == 0.5


def test_config_when_the_data_names_no_classes_then_the_file_is_named(folder, tmp_path):  # noqa: F811
    write_disks(tmp_path / "data", None)
    (tmp_path / "data" / "dataset.json").unlink()
    with pytest.raises(CellsegError, match=r"dataset\.json names no classes"):
        read_config(write_config(tmp_path, folder))


def test_config_when_it_has_a_model_of_its_own_then_keeps_it() -> None:
    config = Config(dict(start_from="absent", model=dict(type="Own")))
    set_start_model(config)
    assert config.model.type == "Own"
    assert "load_from" not in config


def test_model_when_it_cannot_be_trained_further_then_one_sentence(tmp_path):
    with pytest.raises(CellsegError, match="no model absent"):
        find_start_model("absent")
    with pytest.raises(CellsegError, match="RoI head"):
        copy_network({"type": "RetinaNet"}, 2)
