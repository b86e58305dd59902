"""Exit statuses and what a script of tools/ has in common with a command."""

import ast
import contextlib
import errno
import importlib
import os
import re
import signal
import time
from pathlib import Path

import pytest

from cellseg.cli.running import INTERRUPTED, call, first_line, run_tool, write_result
from cellseg.errors import CellsegError
from cellseg.stopping import StoppedError

ROOT = Path(__file__).resolve().parents[2]
OWN = (
    "check_",
    "make_",
    "release_",
    "run_",
)  # of the repository and of the homework: no command has them
DOORS = [
    path
    for path in sorted((ROOT / "tools").rglob("*.py"))
    if "run_tool(" in path.read_text(encoding="utf-8") and not path.name.startswith(OWN)
]


def test_call_when_work_ends_then_its_status() -> None:
    assert (call(lambda: None), call(lambda: 1), call(lambda: 0)) == (0, 1, 0)


def test_call_when_user_error_then_one_sentence_of_the_first_process(capsys, monkeypatch) -> None:
    def fail() -> None:
        raise CellsegError("The file x.tif is cut off; copy it again.")

    assert call(fail) == 1
    assert capsys.readouterr().err == "\nerror: The file x.tif is cut off; copy it again.\n"
    monkeypatch.setenv("RANK", "1")
    assert call(fail) == 1
    assert capsys.readouterr().err == ""


def test_call_when_a_package_is_absent_then_a_sentence_that_says_how_to_install(capsys) -> None:
    assert call(lambda: importlib.import_module("no_such_package.part") and 0) == 1
    said = capsys.readouterr().err
    assert said.startswith("\nerror: no_such_package is not installed, but this command needs it.")
    assert "`make install`" in said


@pytest.mark.parametrize("name", ["cellseg.no_such_module", "json.no_such_module"])
def test_call_when_a_module_of_a_whole_package_is_absent_then_a_traceback(name) -> None:
    with pytest.raises(ModuleNotFoundError):
        call(lambda: importlib.import_module(name) and 0)


def test_call_when_ended_with_ctrl_c_then_the_status_of_shells() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    assert call(stop) == INTERRUPTED == 130


def test_run_tool_when_run_then_parsed_words_reach_the_work_and_its_status_comes_out() -> None:
    def add(parser) -> None:
        parser.add_argument("number", type=int)

    with pytest.raises(SystemExit) as end:
        run_tool("Do.", add, lambda args: args.number, ["3"])
    assert end.value.code == 3
    with pytest.raises(SystemExit) as end:
        run_tool("Do.", add, lambda args: args.number, ["three"])
    assert end.value.code == 2


def test_result_when_of_parts_then_an_empty_line_between(capsys) -> None:
    write_result("a", 1)
    assert capsys.readouterr().out == "a\n\n1\n"


@pytest.mark.parametrize("path", DOORS, ids=lambda path: path.stem)
def test_door_always_says_what_its_command_says(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    name = re.search(r"from (cellseg\.cli\.(?!running)[\w.]+) import", text)[1]
    doc = ast.get_docstring(ast.parse(text))
    assert first_line(doc) == first_line(importlib.import_module(name).__doc__)
    assert f"python {path.relative_to(ROOT).as_posix()}" in doc


def test_doors_always_are_all_tools_but_those_of_the_repository() -> None:
    tools = {path for path in (ROOT / "tools").rglob("*.py") if not path.name.startswith(OWN)}
    assert set(DOORS) == tools


def test_call_when_ended_with_ctrl_c_then_says_how_to_go_on(capsys) -> None:
    def stop() -> None:
        raise KeyboardInterrupt("run it again with --resume")

    assert call(stop) == INTERRUPTED
    assert capsys.readouterr().err == "\ninterrupted; run it again with --resume\n"


def test_call_when_a_stop_signal_comes_then_its_status_and_a_sentence(capsys) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def wait() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    try:
        assert call(wait) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "\nended by SIGTERM\n"


def test_call_when_an_error_takes_the_place_of_a_stop_then_it_ends_as_the_stop(capsys) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def work() -> None:
        with contextlib.suppress(StoppedError):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        raise ImportError("multiarray failed to import")  # so NumPy, whose import was stopped

    try:
        assert call(work) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "\nended by SIGTERM\n"


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "make room"), (errno.EACCES, "permission"), (errno.ELOOP, "remove the link")],
)
def test_call_when_the_machine_refuses_then_one_sentence_names_the_file(
    capsys, number, advice
) -> None:
    def write() -> None:
        raise OSError(number, os.strerror(number), "out/a.csv")

    assert call(write) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"\nerror: out/a.csv: {os.strerror(number)}; ")
    assert advice in said
    assert said.count("\n") == 2


def test_call_when_an_os_error_is_a_mistake_of_the_program_then_it_is_not_hidden() -> None:
    def fail() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        call(fail)


@pytest.mark.parametrize(
    ("stop", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (StoppedError(signal.SIGTERM), 143, "ended by SIGTERM"),
    ],
)
def test_error_that_hides_a_stop_ends_as_the_stop_and_others_are_raised(capsys, stop, status, said):
    def load():
        try:
            raise stop
        except BaseException:  # as MMEngine does, and torch's loaders whose processes ended first
            raise RuntimeError("DataLoader worker is killed by signal")  # noqa: B904

    def fail():
        raise SyntaxError("a fault of the program")

    assert call(load) == status
    assert capsys.readouterr().err == f"\n{said}\n"
    with pytest.raises(SyntaxError, match="a fault"):
        call(fail)
