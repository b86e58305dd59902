"""Lock files between processes: with flock where there is one, with msvcrt on Windows.

A lock belongs to an open file: closing it, or the end of the process, sets it free.
"""

import contextlib
import importlib
import os
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Windows locks bytes, which no other process can then read. A byte past the text spares that.
_LOCKED_BYTE = 1 << 30


def open_lock_file(path: Path) -> BinaryIO:
    """Open a file to lock it, and make it if absent; what it holds stays.

    Args:
        path: The file; its folder must exist.

    Returns:
        The file, open to read and write without a buffer.

    Raises:
        OSError: If it cannot be opened, or is a symbolic link: whoever may write to the folder
            could lead this process to any other file with one.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)


def try_lock(file: BinaryIO) -> bool:
    """Take the lock of a file from `open_lock_file` without waiting.

    Args:
        file: The file; the lock lasts until it is closed.

    Returns:
        Whether the lock is held now; False where another process, or another open file of this
        one, holds it.

    Raises:
        OSError: If the file system knows no locks.
    """
    if fcntl is None:
        return _try_lock_byte(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class FolderLock:
    """Keep other processes out of a folder, by a lock file that exists only while held.

    The lock ends with the process, however that ends; processes forked from it do not hold it.

    Args:
        path: The lock file in the folder.
    """

    def __init__(self, path: Path) -> None:
        """Keep the path; see the class."""
        self.path = path
        self._file: BinaryIO | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def take(self) -> bool:
        """Take the lock without waiting.

        Returns:
            Whether it is this process's now, or the file system knows no locks; False where another
            process has it.

        Raises:
            OSError: If the folder or file cannot be made, or the file is a symbolic link.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while self._file is None:
            file = open_lock_file(self.path)
            try:
                is_free = try_lock(file)
            except OSError:  # a file system without locks
                is_free = True
            if not is_free:
                file.close()
                return False
            if self._is_current(file):  # else the one who had it has just removed it
                self._file = file
        return True

    def release(self) -> None:
        """Remove the lock file and let others in."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # Windows keeps what is open
                self.path.unlink()
            self._forget()

    def _is_current(self, file: BinaryIO) -> bool:
        """Return whether an open file is the one that others would open now; closes it if not."""
        try:
            is_current = os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            is_current = False
        if not is_current:
            file.close()
        return is_current

    def _forget(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _try_lock_byte(file: BinaryIO) -> bool:
    """Take the lock as Windows has it: of one byte, at the file's position."""
    msvcrt: Any = importlib.import_module("msvcrt")
    before = file.seek(0, os.SEEK_CUR)
    file.seek(_LOCKED_BYTE)
    try:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except PermissionError:
        return False
    finally:
        file.seek(before)
    return True
