"""Reading configs, and finding data sets and metrics in them."""

from pathlib import Path

import pytest
from mmengine.config import Config

from cellseg.engine.configs import (
    dataset_config,
    find_cell_metric,
    find_dataset_key,
    find_test_dataset,
    list_datasets,
    parse_cfg_options,
    read_class_names,
    read_config,
)
from cellseg.errors import CellsegError

WRAPPED = """
dataset = dict(type="CellDataset", data_root="here", metainfo=dict(classes="nucleus"), pipeline=[])
train_dataloader = dict(dataset=dict(type="RepeatDataset", times=2, dataset=dataset))
val_dataloader = None
test_dataloader = dict(dataset=dataset)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "config.py").write_text(WRAPPED)
    return tmp_path / "config.py"


def test_read_config_when_given_a_config_then_the_original_stays(path) -> None:
    cfg = read_config(path)
    changed = read_config(cfg, {"test_dataloader.dataset.data_root": "there"})
    assert changed.test_dataloader.dataset.data_root == "there"
    assert cfg.test_dataloader.dataset.data_root == "here"


def test_read_config_when_given_a_shipped_name_then_it_is_found() -> None:
    assert Path(read_config("mask-rcnn_r18_small-anchor").filename).parent.name == "cell"


@pytest.mark.parametrize("text", ["model = dict(", "model = unknown", "_base_ = 'gone.py'", "1 .x"])
def test_read_config_when_the_file_is_no_config_then_one_sentence(tmp_path, text) -> None:
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(CellsegError, match=r"broken\.py cannot be read as a config"):
        read_config(tmp_path / "broken.py")


def test_read_config_when_cellseg_has_moved_then_the_line_to_change_is_named(tmp_path) -> None:
    path = tmp_path / "config.py"
    base = "configs/_base_/cell_lite.py"
    path.write_text(f'_base_ = "/gone/{base}"\n')
    with pytest.raises(CellsegError, match=rf'change its line to _base_ = "/.*{base}"$'):
        read_config(path)
    path.write_text('_base_ = "/gone/configs/other.py"\n')
    with pytest.raises(CellsegError, match=r"other\.py[^.]*$"):
        read_config(path)


def test_read_config_when_it_cannot_be_opened_then_one_sentence(path, monkeypatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError("not for you")

    monkeypatch.setattr(Config, "fromfile", refuse)
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(CellsegError, match=r"config: not for you$"):
        read_config(path)


def test_read_config_when_an_option_does_not_fit_then_it_is_named(path) -> None:
    with pytest.raises(CellsegError, match=r"--cfg-options dataset\.type\.x does not fit"):
        read_config(path, {"dataset.type.x": 1})


def test_parse_cfg_options_when_there_are_none_then_none() -> None:
    assert parse_cfg_options(None) is None
    assert parse_cfg_options([]) is None
    assert parse_cfg_options(["a.b=1", "c=[1,2]"]) == {"a.b": 1, "c": [1, 2]}
    with pytest.raises(CellsegError, match="balanced brackets"):
        parse_cfg_options(["c=[1,2"])


def test_data_sets_when_wrapped_then_their_own_settings_are_found(path) -> None:
    cfg = read_config(path)
    assert find_dataset_key(cfg, "train") == "train_dataloader.dataset.dataset"
    assert list(list_datasets(cfg)) == ["train", "test"]
    list_datasets(cfg)["train"].data_root = "there"
    assert cfg.train_dataloader.dataset.dataset.data_root == "there"
    dataset_config(cfg, "train").data_root = "elsewhere"
    assert cfg.train_dataloader.dataset.dataset.data_root == "there"
    for find in (dataset_config, find_dataset_key):
        with pytest.raises(CellsegError, match="no data set in val_dataloader"):
            find(cfg, "val")


def test_test_data_set_when_there_is_only_a_validation_one_then_that(path) -> None:
    cfg = read_config(path)
    cfg.val_dataloader, cfg.test_dataloader = cfg.test_dataloader, None
    assert find_test_dataset(cfg).data_root == "here"
    with pytest.raises(CellsegError, match="no test_dataloader with a pipeline"):
        find_test_dataset(Config({"model": {}}))


def test_class_names_when_a_single_one_is_given_as_text_then_a_tuple(path) -> None:
    assert read_class_names(find_test_dataset(read_config(path))) == ("nucleus",)
    with pytest.raises(CellsegError, match="names no classes"):
        read_class_names({})


def test_cell_metric_when_among_several_evaluators_then_it_is_found() -> None:
    metric = dict(type="mmdet.CellMetric", max_dets=7)
    assert find_cell_metric(Config({"test_evaluator": [dict(type="Other"), metric]})).max_dets == 7
    assert find_cell_metric(Config({"test_evaluator": dict(type="Other")})) is None
    assert find_cell_metric(Config({})) is None


def test_of_a_concat_dataset_the_first_is_found_and_can_be_changed(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text(
        "first = dict(type='CellDataset', data_root='first')\n"
        "repeated = dict(type='RepeatDataset', times=2, dataset=first)\n"
        "both = [repeated, dict(first, data_root='second')]\n"
        "train_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=both))\n"
    )
    cfg = read_config(path)

    key = find_dataset_key(cfg, "train")
    cfg.merge_from_dict({f"{key}.data_root": "other"})

    assert key == "train_dataloader.dataset.datasets.0.dataset"
    assert dataset_config(cfg, "train").data_root == "other"
    assert cfg.train_dataloader.dataset.datasets[1].data_root == "second"
