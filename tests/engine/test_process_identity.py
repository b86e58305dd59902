"""A process keeps its name as long as it runs; another one never has it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellseg.engine import process_identity
from cellseg.engine.process_identity import identify_process


@pytest.fixture(params=["/proc", "ps"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to learn about a process in turn."""
    if request.param == "ps":
        monkeypatch.setattr(process_identity, "_read_start", process_identity._ask_start)
    return request.param


def sleep() -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_identify_when_it_runs_then_the_same_each_time(system: str) -> None:
    name = identify_process(os.getpid())
    assert name.startswith(f"{os.getpid()} ")
    assert len(name.split()) >= 2
    assert identify_process(os.getpid()) == name


def test_identify_when_it_ended_then_empty_also_before_it_is_waited_for(system: str) -> None:
    process = sleep()
    try:
        assert identify_process(process.pid)
    finally:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert identify_process(process.pid) == ""  # a zombie still has its id
    process.wait()
    assert identify_process(process.pid) == ""


def test_identify_when_the_system_tells_nothing_then_empty(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process_identity, "_read_start", process_identity._ask_start)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert identify_process(os.getpid()) == ""


def test_identify_on_windows_then_powershell_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "powershell"
    program.write_text(
        f'#!{sys.executable}\nimport sys\nprint(len(sys.argv), "Id 12)" in sys.argv[3])'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(process_identity, "_IS_WINDOWS", True)
    monkeypatch.setattr(process_identity, "_read_start", process_identity._ask_start)
    assert identify_process(12) == "12 4True"
