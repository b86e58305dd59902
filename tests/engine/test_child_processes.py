"""Children end with their parent, and no two work in one folder."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cellseg.engine.child_processes import ChildProcesses
from cellseg.errors import CellsegError

ROOT = Path(__file__).resolve().parents[2]
SLEEPER = (
    "import pathlib, os, time; pathlib.Path('{}').write_text(str(os.getpid())); time.sleep(60)"
)
IGNORE = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
PARENT = """
import sys
from pathlib import Path
from types import ModuleType
for name in ("cellseg", "cellseg.engine"):  # the packages without what they import: quick
    sys.modules[name] = ModuleType(name)
    sys.modules[name].__path__ = [name.replace(".", "/")]
from cellseg.engine.child_processes import ChildProcesses
with ChildProcesses() as children:
    children.run([sys.executable, "-c", sys.argv[1]], Path(sys.argv[2]))
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def wait_for(path: Path) -> int:
    until = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.05)
    return int(path.read_text())


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends(pid: int) -> bool:
    """Return whether a process ends within a moment, as one that was killed does."""
    until = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_alive(pid)


def test_command_when_run_then_its_output_and_threads_are_as_asked(tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ['OMP_NUM_THREADS']); sys.stderr.write('said')"
    with ChildProcesses(threads=3) as children:
        for _ in range(2):
            children.run(python(code), tmp_path / "new", tmp_path / "log")
    text = (tmp_path / "log").read_text()
    assert text.count("3") == text.count("said") == 2


def test_command_when_it_fails_then_the_error_names_folder_and_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with ChildProcesses() as children, pytest.raises(CellsegError, match=f"failed in .*{log}"):
        children.run(python("raise SystemExit(3)"), tmp_path, log)


def test_folder_when_in_use_then_a_second_command_is_refused(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool, ChildProcesses() as children:
        first = pool.submit(children.run, python(SLEEPER.format(tmp_path / "pid")), tmp_path)
        pid = wait_for(tmp_path / "pid")
        with pytest.raises(CellsegError, match="Another process works in"):
            children.run(python("pass"), tmp_path)
        children.run(python("pass"), tmp_path / "other")
    assert ends(pid)
    with pytest.raises(CellsegError, match="failed"):
        first.result()


def test_command_when_the_block_has_ended_then_it_does_not_start(tmp_path: Path) -> None:
    with ChildProcesses() as children:
        pass
    with pytest.raises(CellsegError, match="is ending"):
        children.run(python("pass"), tmp_path)


def test_folder_when_its_lock_is_a_link_then_refused_and_its_target_left_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "precious").write_text("text")
    (tmp_path / ".in_use").symlink_to("precious")
    with ChildProcesses() as children, pytest.raises(CellsegError, match="in_use cannot be opened"):
        children.run(python("pass"), tmp_path)
    assert (tmp_path / "precious").read_text() == "text"


def test_command_when_there_are_no_process_groups_then_its_tree_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "taskkill"
    called = "import pathlib, sys; pathlib.Path(sys.argv[0]).with_name('called').write_text"
    program.write_text(f"#!{sys.executable}\n{called}(' '.join(sys.argv[1:]))")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delattr(os, "killpg")
    with ThreadPoolExecutor(1) as pool:
        with ChildProcesses() as children:
            pool.submit(children.run, python(SLEEPER.format(tmp_path / "pid")), tmp_path)
            pid = wait_for(tmp_path / "pid")
        assert ends(pid)
    assert (tmp_path / "called").read_text() == f"/T /F /PID {pid}"


def start_parent(folder: Path, code: str = SLEEPER) -> tuple[subprocess.Popen, int]:
    code = code.format(folder / "pid")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, code, str(folder)], cwd=ROOT)
    return parent, wait_for(folder / "pid")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_parent_when_told_to_stop_then_its_child_ends_too(tmp_path: Path, number: int) -> None:
    parent, child = start_parent(tmp_path)
    parent.send_signal(number)
    assert parent.wait(120) == 128 + number
    assert ends(child)


def test_command_when_it_ends_then_what_it_started_ends_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import pathlib, subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', sys.argv[1]])\n"
        f"while not pathlib.Path('{pid_file}').exists(): time.sleep(0.05)"
    )
    with ChildProcesses() as children:
        children.run([*python(code), SLEEPER.format(pid_file)], tmp_path)
    assert ends(wait_for(pid_file))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux only")
def test_parent_when_killed_then_its_child_ends_too(tmp_path: Path) -> None:
    parent, child = start_parent(tmp_path)
    parent.kill()
    parent.wait(120)
    assert ends(child)
    with ChildProcesses() as children:
        children.run(python("pass"), tmp_path)


def test_parent_when_killed_then_a_child_that_takes_its_time_keeps_the_folder(
    tmp_path: Path,
) -> None:
    parent, child = start_parent(tmp_path, f"import signal; {IGNORE}; {SLEEPER}")
    parent.kill()
    parent.wait(120)
    try:
        assert is_alive(child)
        with (
            ChildProcesses() as children,
            pytest.raises(CellsegError, match=f"The process {child} works in"),
        ):
            children.run(python("pass"), tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
    assert ends(child)  # a kill is sent at once, and takes effect a moment later
    with ChildProcesses() as children:
        children.run(python("pass"), tmp_path)
