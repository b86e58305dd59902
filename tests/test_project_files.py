"""What a project of `cellseg new` is, and how its parts are found."""

from pathlib import Path

import pytest

from cellseg.config_files import find_config, find_source
from cellseg.errors import CellsegError
from cellseg.project_files import find_project_config, is_project, show_path


def test_project_when_it_has_a_config_then_is_found_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("a = 1\n")
    assert is_project(tmp_path)
    assert find_project_config(tmp_path) == tmp_path / "config.py"
    assert find_config(tmp_path) == find_source(tmp_path) == tmp_path / "config.py"


def test_project_when_the_folder_is_that_of_a_run_then_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("a = 1\n")
    (tmp_path / "20260101_000000" / "vis_data").mkdir(parents=True)
    assert not is_project(tmp_path)
    assert find_source(tmp_path) == tmp_path
    with pytest.raises(CellsegError, match="without a config.py"):
        find_config(tmp_path)


def test_path_when_below_the_current_folder_then_is_shown_relative(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert show_path(tmp_path / "a" / "b") == str(Path("a") / "b")
    assert show_path(tmp_path.parent / "c") == str(tmp_path.parent / "c")
