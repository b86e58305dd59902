"""Run a tool in this process, as a person runs it."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


class Done(NamedTuple):
    """How a tool ended, and what it printed."""

    status: int
    out: str
    errors: str

    def told(self, status: int = 0) -> str:
        """Check the status; return the errors of a failure, else what was printed."""
        assert self.status == status, self.errors
        return self.errors if status else self.out


@pytest.fixture
def run_tool(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Return a function that runs a tool, named by its path below tools/."""

    def run(tool: str, *arguments: object) -> Done:
        path = str(TOOLS / tool)
        monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(path, run_name="__main__")
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return run
