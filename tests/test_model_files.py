"""Models by name and folder: what is found, and what is said where nothing is."""

import json

import pytest

from cellseg import model_files
from cellseg.errors import CellsegError
from cellseg.model_files import (
    FACTS_NAME,
    FOLDER_VARIABLE,
    ModelFolderError,
    find_default_model,
    find_model,
    list_models,
    read_model_facts,
)

FACTS = {
    "format": "cellseg model",
    "version": 1,
    "name": "nuclei-he",
    "license": "CC0-1.0",
    "weights": {"file": "model.safetensors", "sha256": "0" * 64, "bytes": 7},
    "scores": {"AJI": 0.6},
    "record": {"version": 1, "classes": ["nucleus"]},
}


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Return a folder of two models, the only ones there are."""
    for name in ("nuclei-he", "my-cells"):
        (tmp_path / name).mkdir()
        (tmp_path / name / FACTS_NAME).write_text(json.dumps({**FACTS, "name": name}))
    monkeypatch.setattr(model_files, "list_model_folders", lambda: [tmp_path])
    return tmp_path


def test_models_when_listed_then_by_name_and_the_default_is_the_first_of_ours(models):
    assert list_models() == {name: models / name for name in ("my-cells", "nuclei-he")}
    assert find_default_model() == models / "nuclei-he"
    assert find_model("my-cells") == models / "my-cells"
    assert find_model(str(models / "my-cells")) == models / "my-cells"
    facts = read_model_facts(models / "my-cells")
    assert (facts.name, facts.classes, facts.license) == ("my-cells", ("nucleus",), "CC0-1.0")


def test_folders_when_the_variable_names_one_then_it_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert model_files.list_model_folders()[0] == tmp_path


def test_model_when_unknown_then_the_nearest_are_named(models):
    with pytest.raises(
        CellsegError, match="There is no model nuclei-eh; the nearest are nuclei-he"
    ):
        find_model("nuclei-eh")
    with pytest.raises(CellsegError, match="there are my-cells, nuclei-he"):
        find_model("zzzzz")
    with pytest.raises(ModelFolderError, match="is not a model folder"):
        find_model(models)


def test_default_model_when_none_is_there_then_says_what_to_give(tmp_path, monkeypatch):
    monkeypatch.setattr(model_files, "list_model_folders", lambda: [tmp_path])
    with pytest.raises(CellsegError, match="No model comes with this installation"):
        find_default_model()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "other"}, "is not a model of cellseg"),
        ({"version": 2}, "version 2"),
        ({"record": []}, "record"),
        ({"record": {"classes": "nucleus"}}, "classes"),
        ({"weights": {"sha256": "12", "bytes": 1}}, "checksum"),
        ({"weights": None}, "checksum, size"),
        ({"scores": {"AJI": "high"}}, "scores"),
    ],
)
def test_facts_when_damaged_then_one_sentence_names_the_folder(models, change, reason):
    path = models / "my-cells" / FACTS_NAME
    path.write_text(json.dumps({**FACTS, **change}))
    with pytest.raises(ModelFolderError, match=reason) as caught:
        read_model_facts(models / "my-cells")
    assert str(models / "my-cells") in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[1]", '"x"', "\x00\x01", "[" * 100_000])
def test_facts_when_no_json_then_one_sentence(models, content):
    (models / "my-cells" / FACTS_NAME).write_text(content)
    with pytest.raises(ModelFolderError, match="my-cells"):
        read_model_facts(models / "my-cells")


def test_facts_when_the_file_is_missing_then_says_so(models):
    (models / "my-cells" / FACTS_NAME).unlink()
    with pytest.raises(ModelFolderError, match=f"has no {FACTS_NAME}"):
        read_model_facts(models / "my-cells")
