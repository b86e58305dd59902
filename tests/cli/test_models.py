"""The list of models and one model's card."""

import json

import pytest

from cellseg import model_files
from cellseg.cli.main import main
from cellseg.model_files import CARD_NAME, FACTS_NAME


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setattr(model_files, "list_model_folders", lambda: [tmp_path])
    return tmp_path


def test_models_when_listed_then_one_row_each_and_damaged_ones_are_named(models, capsys, caplog):
    for name in ("good", "bad"):
        (models / name).mkdir()
    facts = {
        "format": "cellseg model",
        "version": 1,
        "license": "CC0-1.0",
        "weights": {"sha256": "0" * 64, "bytes": 11_460_500},
        "scores": {"AJI": 0.6123},
        "record": {"classes": ["nucleus", "other"]},
    }
    (models / "good" / FACTS_NAME).write_text(json.dumps(facts))
    (models / "good" / CARD_NAME).write_text("# good\nMade for tests.")
    (models / "bad" / FACTS_NAME).write_text("{")
    assert main(["models"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "classes", "size", "license", "scores"]
    assert row.split("  ")[0] == "good"
    assert "nucleus, other" in row
    assert "11.5 MB" in row
    assert "AJI 0.612" in row
    assert "bad" in caplog.text
    assert main(["models", "good"]) == 0
    assert "Made for tests." in capsys.readouterr().out


def test_models_when_there_are_none_then_says_how_to_name_folders(models, capsys):
    assert main(["models"]) == 1
    assert "CELLSEG_MODELS" in capsys.readouterr().err
