"""Classes that a config sets once reach every data set and head."""

from pathlib import Path

import pytest

from cellseg.config_files import list_configs
from cellseg.engine.cell_classes import find_heads, set_cell_classes
from cellseg.engine.class_counts import check_class_counts, list_class_names
from cellseg.engine.configs import read_config
from cellseg.errors import CellsegError

NAMES = ("tumor", "stroma", "immune")


def write_config(path: Path, base: str, text: str) -> Path:
    """Write a config that inherits from a shipped one."""
    path.write_text(f'_base_ = r"{list_configs()[base].resolve()}"\n{text}\n')
    return path


@pytest.mark.parametrize("base", list(list_configs()))
def test_cell_classes_when_set_then_every_data_set_and_head_has_them(
    base: str, tmp_path: Path
) -> None:
    config = read_config(write_config(tmp_path / "own.py", base, f"cell_classes = {NAMES}"))
    check_class_counts(config)
    assert list_class_names(config) == dict.fromkeys(("train", "val", "test"), NAMES)
    heads = list(find_heads(config.model, "model"))
    assert {head.num_classes for head, _ in heads} == {3}
    assert len(heads) == (4 if base.startswith("cascade") else 2)


def test_cell_classes_when_data_sets_are_joined_then_each_has_them(tmp_path: Path) -> None:
    text = """
cell_classes = ("nucleus",)
_one = dict(type="CellDataset", metainfo=dict(classes=("a", "b"), palette=[(1, 2, 3)]))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="ConcatDataset",
        datasets=[dict(type="RepeatDataset", times=2, dataset=_one), dict(type="CellDataset")],
    )
)
"""
    config = read_config(write_config(tmp_path / "own.py", "mask-rcnn_r18_small-anchor", text))
    repeated, plain = config.train_dataloader.dataset.datasets
    assert repeated.dataset.metainfo == {"classes": ("nucleus",), "palette": [(1, 2, 3)]}
    assert plain.metainfo.classes == ("nucleus",)


def test_cell_classes_when_not_set_then_the_config_stays_as_it_is(tmp_path: Path) -> None:
    text = """
_data = dict(metainfo=dict(classes=("a", "b")))
train_dataloader = dict(dataset=_data)
val_dataloader = dict(dataset=_data)
test_dataloader = val_dataloader
model = dict(roi_head=dict(bbox_head=dict(num_classes=2), mask_head=dict(num_classes=2)))
"""
    config = read_config(write_config(tmp_path / "own.py", "mask-rcnn_r18_small-anchor_demo", text))
    before = config.pretty_text
    set_cell_classes(config)
    assert config.pretty_text == before
    assert list_class_names(config)["val"] == ("a", "b")


def test_cell_classes_when_given_as_an_option_then_followed_and_other_options_win() -> None:
    options = {"cell_classes": ["x", "y"]}
    config = read_config("mask-rcnn_r18_small-anchor", options)
    check_class_counts(config)
    assert list_class_names(config)["train"] == ("x", "y")
    later = {"model.roi_head.bbox_head.num_classes": 5}
    with pytest.raises(CellsegError, match="have 2 classes .* is 5"):
        check_class_counts(read_config(config, later))


def test_cell_classes_when_a_written_config_is_read_again_then_it_is_the_same(
    tmp_path: Path,
) -> None:
    base = "mask-rcnn_r18_small-anchor"
    config = read_config(write_config(tmp_path / "own.py", base, f"cell_classes = {NAMES}"))
    config.dump(tmp_path / "dumped.py")
    again = read_config(tmp_path / "dumped.py")
    assert again.model == config.model
    assert again.train_dataloader == config.train_dataloader


@pytest.mark.parametrize("names", ['"nucleus"', "()", '("a", "a")', '("a", 2)', "4"])
def test_cell_classes_when_no_different_names_then_refused(names: str, tmp_path: Path) -> None:
    base = "mask-rcnn_r18_small-anchor"
    path = write_config(tmp_path / "own.py", base, f"cell_classes = {names}")
    with pytest.raises(CellsegError, match=r"own\.py: cell_classes is .* a tuple of different"):
        read_config(path)
