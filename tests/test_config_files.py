"""A config is found by its path or, among the shipped ones, by its name."""

from pathlib import Path

import pytest

from cellseg import config_files
from cellseg.config_files import (
    configs_folder,
    describe_config,
    find_config,
    find_source,
    list_configs,
)
from cellseg.errors import CellsegError

NAME = "mask-rcnn_r18_small-anchor"


@pytest.mark.parametrize("name", [NAME, f"{NAME}.py"])
def test_config_when_named_then_the_shipped_one(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == configs_folder() / "cell" / f"{NAME}.py"


def test_config_when_a_file_of_its_name_is_there_then_the_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(f"{NAME}.py").touch()
    assert find_config(f"{NAME}.py") == Path(f"{NAME}.py")
    assert find_config(NAME) == configs_folder() / "cell" / f"{NAME}.py"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mask-rcnn_r18_smallanchor", f"no config mask-rcnn_r18_smallanchor; .* {NAME}, "),
        ("mask-rcnn_r19_small-anchor.py", f"no config file .*; the nearest .*{NAME}"),
        (f"configs/cell/{NAME}.py", f"no config file .*; the config .* is called {NAME}\\."),
        ("else/nothing.py", "no config file .*nothing.py; `cellseg new` makes"),
        ("zzz", "no config zzz; `cellseg new` makes"),
        (f"mine/{NAME}", f"no config file .*; the config .* is called {NAME}\\."),
    ],
)
def test_config_when_unknown_then_the_nearest_are_named(
    name: str, message: str, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CellsegError, match=message):
        find_config(name)


def test_source_when_a_folder_or_a_config_then_found(tmp_path: Path) -> None:
    assert find_source(tmp_path) == tmp_path
    assert find_source(NAME) == list_configs()[NAME]
    with pytest.raises(CellsegError, match="neither a folder of images nor a config"):
        find_source(tmp_path / "absent")


def test_folder_when_inside_the_package_then_it_goes_before_the_checkouts(
    tmp_path, monkeypatch
) -> None:
    package = tmp_path / "cellseg"
    for folder in (package / "configs" / "_base_", tmp_path / "configs" / "_base_"):
        folder.mkdir(parents=True)
    monkeypatch.setattr(config_files, "_PACKAGE", package)
    assert configs_folder() == package / "configs"
    (package / "configs" / "_base_").rmdir()
    assert configs_folder() == tmp_path / "configs"
    (tmp_path / "configs" / "_base_").rmdir()
    with pytest.raises(CellsegError, match="install the package again"):
        configs_folder()


def test_configs_always_say_what_they_are() -> None:
    lines = [describe_config(path) for path in list_configs().values()]
    assert all(line.endswith((".", "?")) for line in lines)
    assert len(set(lines)) == len(lines)
