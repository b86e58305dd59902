"""JSON of others: read, or refused by name."""

from pathlib import Path

import pytest

from cellseg.errors import CellDataError
from cellseg.formats.conversion.json_files import read_json


@pytest.mark.parametrize("text", ["{}", '[1, "ä"]', "null"])
def test_read_when_it_is_json_then_its_value(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"{}": {}, "null": None}.get(text, [1, "ä"])


@pytest.mark.parametrize("content", [b"", b'{"a": [1, 2', b"\xff\xfe\xfa", b"[" * 100_000])
def test_read_when_it_is_damaged_then_the_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(CellDataError, match=r"a\.json: cannot be read as JSON"):
        read_json(tmp_path / "a.json")


def test_read_when_there_is_none_then_said(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(CellDataError, match="no such file"):
            read_json(path)
