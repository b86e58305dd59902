"""The shipped configs are listed, found and copied."""

from pathlib import Path

import pytest
from mmengine.config import Config

from cellseg.cli.configs import copy_config, list_text
from cellseg.cli.main import main
from cellseg.config_files import list_configs
from cellseg.errors import CellsegError

NAME = "mask-rcnn_r18_small-anchor"


def test_configs_when_listed_then_each_has_a_line() -> None:
    lines = list_text().splitlines()
    assert [line.split()[0] for line in lines] == list(list_configs())
    assert all(len(line.split()) > 4 for line in lines)


def test_configs_when_one_is_named_then_its_path(capsys) -> None:
    assert main(["configs", NAME]) == 0
    assert Path(capsys.readouterr().out.strip()) == list_configs()[NAME]


def test_config_when_copied_then_it_inherits_and_is_not_overwritten(tmp_path: Path) -> None:
    path = copy_config(list_configs()[NAME], tmp_path / "mine")
    assert path == tmp_path / "mine" / f"{NAME}.py"
    assert Config.fromfile(path).model.backbone.depth == 18
    with pytest.raises(CellsegError, match="is there already"):
        copy_config(list_configs()[NAME], tmp_path / "mine")


def test_configs_when_a_folder_but_no_name_is_given_then_one_sentence(tmp_path, capsys) -> None:
    assert main(["configs", "--copy-to", str(tmp_path)]) == 1
    assert "--copy-to needs a config's name" in capsys.readouterr().err
