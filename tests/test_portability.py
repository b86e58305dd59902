"""The package imports on Windows and macOS, as far as Linux without some of its parts can tell."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for folder in ("cellseg", "tools") for path in (ROOT / folder).rglob("*.py"))

# Everything foreign is imported as Linux has it; what follows finds no more than Windows offers.
IMPORT_ALL = """
import importlib, multiprocessing, os, pkgutil, signal, sys
import mmdet.apis, mmengine.runner, numpy, scipy.ndimage, skimage.measure, torch
for name in OPTIONAL:
    try:
        importlib.import_module(name)
    except ImportError:
        pass

posix_modules = ("fcntl", "grp", "posix", "pwd", "resource", "syslog", "termios", "tty", "pty")
posix_names = {
    os: ("chown", "fork", "forkpty", "getpgid", "getuid", "geteuid", "killpg", "mkfifo", "setsid",
         "sched_getaffinity", "statvfs", "sysconf", "uname", "getloadavg", "O_NOFOLLOW"),
    signal: ("SIGHUP", "SIGKILL", "SIGALRM", "SIGUSR1", "SIGQUIT", "alarm", "setitimer"),
}
before = [name for name in sys.modules if name.partition(".")[0] == "cellseg"]
assert "cellseg.file_locks" not in before, before
hidden = {name: sys.modules.get(name) for name in posix_modules}
sys.modules.update(dict.fromkeys(posix_modules))
for module, names in posix_names.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
import cellseg
names = [info.name for info in pkgutil.walk_packages(cellseg.__path__, "cellseg.")]
absent = []
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        absent.append(name)
print(len(names), *absent, file=sys.stderr)
print("IMPORTED", len(names) - len(absent))
"""
OPTIONAL = (
    "uvicorn",
    "starlette",
    "pyarrow",
    "openslide",
    "dask",
    "distributed",
    "dask_jobqueue",
    "psutil",
)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_every_module_when_there_is_nothing_of_posix_then_imports() -> None:
    done = run_python(f"OPTIONAL = {OPTIONAL}\n{IMPORT_ALL}")
    assert done.returncode == 0, done.stderr[-3000:]
    count = int(done.stdout.rpartition("IMPORTED ")[2])
    assert count > 100


def _lacks_encoding(call: ast.Call) -> bool:
    """Return whether a call opens a file as text without saying which encoding it has."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if any(keyword.arg == "encoding" for keyword in call.keywords):
        return False
    if name == "read_text":
        return not call.args
    if name == "write_text":
        return len(call.args) < 2
    if name != "open" or not isinstance(function, (ast.Attribute, ast.Name)):
        return False
    place = 1 if isinstance(function, ast.Name) else 0  # open(path, mode), path.open(mode)
    modes = [*call.args[place : place + 1], *(k.value for k in call.keywords if k.arg == "mode")]
    values = [mode.value for mode in modes if isinstance(mode, ast.Constant)]
    is_text = not any(isinstance(value, str) and "b" in value for value in values)
    is_file = any(value in ("r", "w", "a", "x", "r+", "a+") for value in values)
    return is_text and (is_file or (isinstance(function, ast.Name) and not values))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("path.read_text()", True),
        ("path.read_text('utf-8')", False),
        ("path.write_text(text)", True),
        ("path.write_text(text, encoding='utf-8')", False),
        ("path.open('a')", True),
        ("path.open('rb')", False),
        ("open(path)", True),
        ("open(path, 'wb')", False),
        ("store.open(key)", False),
    ],
)
def test_lacks_encoding_when_called_so_then_told(code: str, expected: bool) -> None:
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert _lacks_encoding(call) == expected


def test_text_files_when_opened_then_their_encoding_is_named() -> None:
    lacking = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and _lacks_encoding(node)
    ]
    assert SOURCES
    assert lacking == []
