"""Write files so that a reader never sees half of one; read those that may be damaged."""

import errno
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_atomically(path: str | Path, content: bytes | str | Callable[[BinaryIO], object]) -> Path:
    """Write a file aside, sync it, and rename it into place.

    A reader, or a process started after a crash, sees the old file or the new one, never a part.

    Args:
        path: Where the file ends up; its folder is made if absent.
        content: Bytes, text (written as UTF-8), or a function that writes to an open binary file.

    Returns:
        The path written.

    Raises:
        OSError: If the folder cannot be written, or the disk is full; it names the file. The old
            file, if any, is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).chmod(0o666 & ~_current_umask())
        Path(aside).replace(path)
    except BaseException as error:
        Path(aside).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # a full disk does not say what it was full for
        raise
    _sync_folder(path.parent)
    return path


def read_text(path: str | Path, encoding: str = "utf-8") -> str:
    """Read a text file that somebody names; a pipe or device, which may never end, is refused.

    Raises:
        OSError: If it cannot be read, or is no regular file.
        UnicodeDecodeError: If it is not in the encoding.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return path.read_text(encoding=encoding)


def read_arrays(path: Path) -> "dict[str, NDArray[Any]]":
    """Read an npz file that `numpy.savez` wrote, in memory that its size bounds.

    Raises:
        ValueError: If it is packed, so that it could become far larger than it is.
        Exception: Nearly any, if it is damaged; nothing is unpickled.
    """
    import numpy as np  # the help of the commands does without

    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise ValueError("it is packed")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _current_umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the file system can sync a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        return
    finally:
        os.close(descriptor)
