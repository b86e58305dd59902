import importlib.util
import json
from pathlib import Path

import pytest

from cellseg.cli.running import build_parser

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("tool", ROOT / "tools" / "make_submission.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("number", "note"), [(1, ""), (3, "; 2 images of the index have no")])
def test_make_submission_says_where_it_is_and_what_is_missing(tool, tmp_path, capsys, number, note):
    row = {"height": 4, "width": 5}
    index = [{"file_name": f"{i}.tif", "id": i + 10, **row} for i in range(number)]
    (tmp_path / "index.json").write_text(json.dumps(index))
    (tmp_path / "coco_results.json").write_text("[]")
    (tmp_path / "coco_images.json").write_text(json.dumps([{"id": 1, "file_name": "0.tif", **row}]))
    words = [tmp_path, tmp_path / "index.json", "--out", tmp_path / "s.zip"]
    tool.main(build_parser("", tool.add_arguments).parse_args(list(map(str, words))))
    assert f"Submission: {tmp_path / 's.zip'}{note}" in capsys.readouterr().out
    assert (tmp_path / "s.zip").is_file()
