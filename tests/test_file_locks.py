"""A lock keeps others out until it is closed, with flock and as Windows has it."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import pytest

from cellseg import file_locks
from cellseg.file_locks import FolderLock, open_lock_file, try_lock

HOLDER = """
import runpy, sys
from pathlib import Path
locks = runpy.run_path(sys.argv[1])  # without the package, which takes long to import
file = locks["open_lock_file"](Path(sys.argv[2]))
print(locks["try_lock"](file), flush=True)
sys.stdin.read()
"""


class WindowsLocks:
    """What msvcrt offers for locks: bytes that only the file that locked them may touch."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.locked: set[tuple[int, int]] = set()

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (self.LK_NBLCK, 1)
        place = (os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR))
        if place in self.locked:
            raise PermissionError(errno.EACCES, "Permission denied")
        self.locked.add(place)


@pytest.fixture(params=["flock", "msvcrt"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each kind of lock in turn."""
    if request.param == "msvcrt":
        monkeypatch.setattr(file_locks, "fcntl", None)
        monkeypatch.setitem(sys.modules, "msvcrt", WindowsLocks())
    return request.param


def test_lock_when_held_then_a_second_file_does_not_get_it(tmp_path: Path, kind: str) -> None:
    with open_lock_file(tmp_path / "a") as first, open_lock_file(tmp_path / "a") as second:
        assert try_lock(first)
        assert not try_lock(second)
        with open_lock_file(tmp_path / "b") as other:
            assert try_lock(other)


def test_lock_when_held_then_the_text_can_be_read_and_written(tmp_path: Path, kind: str) -> None:
    with open_lock_file(tmp_path / "a") as first, open_lock_file(tmp_path / "a") as second:
        assert try_lock(first)
        first.write(b"who")
        assert not try_lock(second)
        assert second.read() == b"who"
    if kind == "msvcrt":
        assert all(byte > 1000 for _, byte in sys.modules["msvcrt"].locked)


def test_lock_when_its_file_is_closed_then_free(tmp_path: Path) -> None:
    with open_lock_file(tmp_path / "a") as first:
        assert try_lock(first)
    with open_lock_file(tmp_path / "a") as second:
        assert try_lock(second)


def test_lock_when_another_process_has_it_then_not_ours_until_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, file_locks.__file__, str(tmp_path / "a")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen(command, **pipes) as holder,
        open_lock_file(tmp_path / "a") as file,
    ):
        try:
            assert holder.stdout.readline() == "True\n"
            assert not try_lock(file)
        finally:
            holder.kill()
            holder.wait()
        assert try_lock(file)


def test_lock_when_the_file_system_knows_none_then_oserror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: object, mode: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    fcntl = SimpleNamespace(flock=refuse, LOCK_EX=2, LOCK_NB=4)
    monkeypatch.setattr(file_locks, "fcntl", fcntl)
    with open_lock_file(tmp_path / "a") as file, pytest.raises(OSError, match="No locks"):
        try_lock(file)


def test_open_lock_file_when_it_holds_text_then_that_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    with open_lock_file(tmp_path / "a") as file:
        assert file.read() == b"text"


@pytest.mark.parametrize("exists", [True, False])
def test_open_lock_file_when_it_is_a_link_then_its_target_is_left_alone(
    tmp_path: Path, exists: bool
) -> None:
    target = tmp_path / "target"
    if exists:
        target.write_text("precious")
    (tmp_path / "a").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        open_lock_file(tmp_path / "a")
    assert target.exists() == exists
    assert not exists or target.read_text() == "precious"


def test_open_lock_file_when_no_flags_are_known_then_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_NOFOLLOW")
    with open_lock_file(tmp_path / "a") as file:
        file.write(b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


def test_folder_lock_when_held_then_others_wait_and_nothing_is_left(tmp_path: Path) -> None:
    first, second = (FolderLock(tmp_path / "new" / ".busy") for _ in range(2))
    assert first.take()
    assert first.take()
    assert not second.take()
    first.release()
    assert not (tmp_path / "new" / ".busy").exists()
    assert second.take()
    second.release()
    second.release()


def test_folder_lock_when_its_file_is_removed_meanwhile_then_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".busy"

    def lock_and_lose(file: BinaryIO) -> bool:
        monkeypatch.setattr(file_locks, "try_lock", try_lock)
        path.unlink()  # by the holder before, between opening and locking
        return try_lock(file)

    monkeypatch.setattr(file_locks, "try_lock", lock_and_lose)
    first = FolderLock(path)
    assert first.take()
    assert not FolderLock(path).take()
    first.release()


def test_folder_lock_when_its_file_is_a_link_then_the_target_is_not_touched(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / ".busy").symlink_to(target)
    with pytest.raises(OSError, match="busy"):
        FolderLock(tmp_path / ".busy").take()
    assert target.read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_folder_lock_when_a_fork_outlives_its_process_then_free(tmp_path: Path) -> None:
    code = """
import runpy, sys, os, time
from pathlib import Path
locks = runpy.run_path(sys.argv[1])
lock = locks["FolderLock"](Path(sys.argv[2]))
assert lock.take()
child = os.fork()
if child == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
time.sleep(60)
"""
    command = [sys.executable, "-c", code, file_locks.__file__, str(tmp_path / ".busy")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert not FolderLock(tmp_path / ".busy").take()
        process.kill()
        process.wait()
        try:
            lock = FolderLock(tmp_path / ".busy")
            assert lock.take()
            lock.release()
        finally:
            os.kill(child, signal.SIGKILL)
