"""Opening data by config or folder."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellseg.engine.configs import dataset_config, find_cell_metric, read_config
from cellseg.engine.data_source import find_max_dets, open_data, open_parts
from cellseg.errors import CellsegError

CONFIG = """
dataset = dict(type="CellDataset", data_root={root!r}, metainfo=dict(classes=("nucleus",)))
train_dataloader = dict(dataset=dict(type="RepeatDataset", times=2, dataset=dataset))
test_dataloader = dict(dataset=dataset)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write two images, the second without a cell."""
    for name in ("a", "b"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        tifffile.imwrite(folder / "image.tif", np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "data" / "a" / "class2.tif", np.eye(8, 9, dtype=np.uint8))
    return tmp_path / "data"


def test_open_data_when_given_a_folder_then_classes_follow_the_files(root: Path) -> None:
    dataset = open_data(root)
    assert list(dataset.metainfo["classes"]) == ["class1", "class2"]
    assert [dataset.get_data_info(k)["img_name"] for k in range(len(dataset))] == ["a", "b"]
    named = open_data(root, classes=["lymphocyte", "macrophage"])
    assert named.get_data_info(0)["instances"][0]["bbox_label"] == 1


def test_open_data_when_given_a_config_then_its_split_is_opened(root: Path, tmp_path: Path) -> None:
    (root / "a" / "class2.tif").rename(root / "a" / "class1.tif")
    config = tmp_path / "config.py"
    config.write_text(CONFIG.format(root=str(root)))
    for split in ("train", "test"):
        assert len(open_data(config, split)) == 2
    with pytest.raises(CellsegError, match="no data set in val_dataloader"):
        open_data(config, "val")
    moved = open_data(config, "test", {"test_dataloader.dataset.include": ["b"]})
    assert len(moved) == 1
    assert dataset_config(read_config(config), "train")["data_root"] == str(root)


def test_open_data_when_the_source_is_wrong_then_one_sentence_says_so(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("model = dict(")
    (tmp_path / "empty").mkdir()
    for source, message in (
        (tmp_path / "none.py", "There is no config file"),
        (tmp_path / "broken.py", "cannot be read as a config"),
        (tmp_path / "results.json", "neither a folder of images nor a config"),
        (tmp_path / "empty", "no label file"),
    ):
        with pytest.raises(CellsegError, match=message):
            open_data(source)
    (root / "b" / "class1.tif").write_bytes(b"II*")
    with pytest.raises(CellsegError, match=r"class1\.tif"):
        open_data(root)


def test_open_parts_when_a_config_has_folds_then_they_are_those_of_the_data_set(
    root: Path, tmp_path: Path
) -> None:
    (root / "a" / "class2.tif").rename(root / "a" / "class1.tif")
    config = tmp_path / "config.py"
    config.write_text(CONFIG.format(root=str(root)))
    datasets, parts = open_parts(config, num_folds=2)
    assert len(datasets) == 1
    for fold in range(2):
        options = {f"test_dataloader.dataset.{k}": v for k, v in (("num_folds", 2), ("fold", fold))}
        held_out = open_data(config, "test", {**options, "test_dataloader.dataset.split": "val"})
        names = [held_out.get_data_info(k)["img_name"] for k in range(len(held_out))]
        found = [datasets[0].get_data_info(k)["img_name"] for k in parts[f"fold {fold}"]]
        assert names == found
    with pytest.raises(CellsegError, match="3 folds"):
        open_parts(root, num_folds=3)


def test_open_parts_when_splits_have_data_of_their_own_then_each_is_a_part(
    root: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.py"
    config.write_text(
        CONFIG.format(root=str(root))
        + 'val_dataloader = dict(dataset=dict(**dataset, include=["b"]))'
    )
    (root / "a" / "class2.tif").unlink()
    datasets, parts = open_parts(config)
    assert parts == {"train": [0, 1], "val": [2]}
    assert [len(dataset) for dataset in datasets] == [2, 1]
    assert open_parts(root, classes=["nucleus"])[1] == {}


@pytest.mark.parametrize(
    ("evaluator", "expected"),
    [
        ("dict(type='CellMetric', max_dets=77)", 77),
        ("[dict(type='DumpCellResults'), dict(type='mmdet.CellMetric', max_dets=77)]", 77),
        ("dict(type='CellMetric')", 1000),
        ("dict(type='CocoMetric', max_dets=77)", 1000),
        ("None", 1000),
    ],
)
def test_find_max_dets_when_the_evaluator_is_written_in_any_way_then_the_metrics_own(
    tmp_path: Path, evaluator: str, expected: int
) -> None:
    path = tmp_path / "config.py"
    path.write_text(f"test_evaluator = {evaluator}")
    assert find_max_dets(path) == expected
    assert find_max_dets(tmp_path) == 1000
    metric = find_cell_metric(read_config(path))
    assert (metric is None) == ("CellMetric" not in evaluator)
    path.write_text("test_evaluator = dict(type='CellMetric')")
    assert find_max_dets(path, {"test_evaluator.max_dets": 5}) == 5


def test_open_data_when_hidden_label_files_lie_about_then_they_name_no_class(root: Path) -> None:
    (root / ".old").mkdir()
    for path in (root / ".old" / "class9.tif", root / "a" / "._class7.tif"):
        path.write_bytes(b"junk")
    assert list(open_data(root).metainfo["classes"]) == ["class1", "class2"]
