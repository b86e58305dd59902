"""Stop signals end a program through its `finally`, and processes end with their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cellseg.stopping import StoppedError, bind_command, stop_on_signals

ROOT = Path(__file__).resolve().parents[1]
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux only")
START = """
import runpy, os, sys, time, threading
stopping = runpy.run_path(sys.argv[1])  # without the package, which takes long to import
"""
WAITER = (
    START
    + """
with stopping["stop_on_signals"]():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)
"""
)
SWALLOWER = (
    START
    + """
import signal, weakref
class Thing: pass
def hold():
    print("ready", flush=True)
    time.sleep(60)
with stopping["stop_on_signals"]():
    try:
        if sys.argv[2] == "callback":
            thing = Thing()
            reference = weakref.ref(thing, lambda dead: hold())
            del thing
        else:
            try:
                hold()
            except BaseException:
                pass
        print("goes on", flush=True)
        time.sleep(60)
    finally:
        print("cleaning", flush=True)
        time.sleep(3)  # longer than until a signal is sent again
        print("cleaned up", flush=True)
"""
)
FORKER = (
    START
    + """
stopping["end_forks_with_parent"]()
stopping["end_forks_with_parent"]()
def fork():
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
if sys.argv[2] == "thread":
    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
else:
    fork()
time.sleep(60)
"""
)


def start(code: str, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-c", code, str(ROOT / "cellseg" / "stopping.py"), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_end(pid: int) -> bool:
    until = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_alive(pid)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signal_when_it_comes_then_the_program_cleans_up_without_a_traceback(name: str) -> None:
    process = start(WAITER)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=30)
    assert (out, err) == ("cleaned up\n", "")
    assert process.returncode == 128 + getattr(signal, name)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("by", ["callback", "bare except"])
def test_signal_when_its_exception_is_swallowed_then_it_comes_again_and_only_once(
    name: str, by: str
) -> None:
    process = start(SWALLOWER, by)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=30)
    assert out == "goes on\ncleaning\ncleaned up\n", err
    assert process.returncode == (143 if name == "SIGTERM" else -signal.SIGINT)


def test_signal_when_it_is_ignored_or_handled_then_left_alone() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stop_on_signals():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_signals_after_the_block_are_as_before() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(StoppedError, match="143"), stop_on_signals():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


@LINUX
def test_fork_when_its_parent_is_killed_then_it_ends() -> None:
    process = start(FORKER, "main")
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert is_alive(child)
    process.kill()
    process.communicate(timeout=30)
    assert wait_for_end(child)


@LINUX
def test_fork_of_a_thread_when_the_thread_ends_then_it_goes_on() -> None:
    process = start(FORKER, "thread")
    assert process.stdout is not None
    child = int(process.stdout.readline())
    time.sleep(0.3)
    assert is_alive(child)
    os.kill(child, signal.SIGKILL)
    process.kill()
    process.communicate(timeout=30)


@LINUX
@pytest.mark.parametrize(
    ("error", "is_told"), [("ConnectionResetError", False), ("KeyError", True)]
)
def test_fork_when_its_parent_hangs_up_then_without_a_traceback(error: str, is_told: bool) -> None:
    code = f"""
import runpy, os, sys
runpy.run_path(sys.argv[1])["end_forks_with_parent"]()
if os.fork() == 0:
    raise {error}("gone")
os.wait()
"""
    _, said = start(code).communicate(timeout=60)
    assert ("Traceback" in said) is is_told


BINDER = (
    START
    + """
import subprocess
command = stopping["bind_command"]([sys.executable, "-c", sys.argv[2]])
if sys.argv[3] == "late":  # what starts it is not the one that asked, as if that had died
    subprocess.run(["sh", "-c", '"$@"; exit $?', "sh", *command], check=False)
else:
    process = subprocess.Popen(command)
    process.wait()
    print(process.pid, flush=True)
"""
)
TELL_PID = "import os, time; print(os.getpid(), flush=True); time.sleep({})"


@LINUX
def test_command_when_its_parent_is_killed_then_it_is_told_to_end() -> None:
    process = start(BINDER, TELL_PID.format(60), "now")
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert is_alive(child)
    process.kill()
    assert wait_for_end(child)
    process.communicate(timeout=30)


@LINUX
def test_command_when_bound_then_it_keeps_its_process_id_and_arguments() -> None:
    out, err = start(BINDER, TELL_PID.format(0), "now").communicate(timeout=60)
    assert err == ""
    assert len(set(out.split())) == 1


@LINUX
def test_command_when_its_parent_has_died_before_it_starts_then_it_does_not() -> None:
    assert start(BINDER, TELL_PID.format(0), "late").communicate(timeout=60) == ("", "")


def test_command_when_the_system_cannot_bind_then_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert bind_command(("program", "-x")) == ["program", "-x"]
