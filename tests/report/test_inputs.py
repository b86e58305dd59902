"""Finding config, results and checkpoint of a work dir."""

import os
from pathlib import Path

import pytest

from cellseg.errors import CellsegError
from cellseg.report.inputs import (
    find_checkpoint,
    find_config,
    find_results,
    suggest_command,
)


def touch(path: Path, seconds: int = 0) -> Path:
    """Make an empty file of a known age."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (1_700_000_000 + seconds,) * 2)
    return path


def test_find_config_when_only_a_start_has_one_then_takes_the_newest(tmp_path: Path) -> None:
    with pytest.raises(CellsegError, match="has no config"):
        find_config(tmp_path)
    touch(tmp_path / "20260101_000000" / "vis_data" / "config.py")
    newest = touch(tmp_path / "20260102_000000" / "vis_data" / "config.py")
    assert find_config(tmp_path) == newest
    dumped = touch(tmp_path / "model.py")
    assert find_config(tmp_path) == dumped
    assert find_config(tmp_path, "other.py") == Path("other.py")
    touch(tmp_path / "second.py")
    with pytest.raises(CellsegError, match=r"model\.py, second\.py"):
        find_config(tmp_path)


def test_find_results_when_there_are_several_then_takes_the_newest(tmp_path: Path) -> None:
    config = tmp_path / "model.py"
    with pytest.raises(CellsegError, match="cellseg test"):
        find_results(tmp_path, config)
    touch(tmp_path / "old.segm.json")
    newest = touch(tmp_path / "20260102_000000" / "new.segm.json", 60)
    touch(tmp_path / "newer.bbox.json", 90)
    assert find_results(tmp_path, config) == newest
    assert find_results(tmp_path, config, tmp_path / "old.segm.json").name == "old.segm.json"
    with pytest.raises(CellsegError, match="no predictions at"):
        find_results(tmp_path, config, tmp_path / "none.json")


def test_find_checkpoint_when_a_best_one_is_there_then_it_is_taken(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path) is None
    assert "CHECKPOINT" in suggest_command(tmp_path, tmp_path / "model.py")
    last = touch(tmp_path / "epoch_20.pth", 50)
    touch(tmp_path / "epoch_9.pth", 10)
    assert find_checkpoint(tmp_path) == last
    best = touch(tmp_path / "best_coco_epoch_9.pth", 20)
    assert find_checkpoint(tmp_path) == best


def test_suggest_command_when_the_folder_has_a_space_then_quotes_it(tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    assert f"'{folder}/results.json'" in suggest_command(folder, folder / "model.py")
