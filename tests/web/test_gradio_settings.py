"""Gradio is told to keep to itself before it is imported, and its absence has a mend."""

import importlib.util
import os

import pytest

from cellseg.errors import CellsegError
from cellseg.web.gradio_settings import prepare_gradio


@pytest.fixture(autouse=True)
def _same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))


def test_prepare_gradio_when_it_is_absent_then_the_command_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CellsegError, match="pip install gradio"):
        prepare_gradio(tmp_path)


def test_prepare_gradio_then_nothing_is_reported_and_files_stay_in_one_folder(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    prepare_gradio(tmp_path)
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)
