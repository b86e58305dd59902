"""Fixtures that every test folder shares."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import cellseg  # noqa: F401  (lets MMDetection work without mmcv's compiled ops)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real images named by CELLSEG_REAL_DATA; skip only where it is unset."""
    folder = os.environ.get("CELLSEG_REAL_DATA")
    if not folder:
        pytest.skip("CELLSEG_REAL_DATA is not set")
    return Path(folder)


@pytest.fixture(
    scope="session",
    params=[
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
        ),
    ],
)
def device(request: pytest.FixtureRequest) -> str:
    """Return each device in turn on which a part gives stock's results."""
    return request.param


@pytest.fixture
def listen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that collects what a module logs by print_log, from a level on."""

    def start(module: str, least: int = logging.INFO) -> list[str]:
        heard: list[str] = []

        def note(message: str, logger: Any = None, level: int = logging.INFO) -> None:
            if level >= least:
                heard.append(message)

        monkeypatch.setattr(f"{module}.print_log", note)
        return heard

    return start
