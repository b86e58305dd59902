"""Lock files between processes: with flock where there is one, with msvcrt on Windows.

A lock belongs to an open file: closing it, or the end of the process, sets it free.
"""

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
