"""Images by URL: listed by the client, copied to a bounded folder of the worker that needs one."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import socket
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import fsspec
import psutil

from cellseg.errors import CellsegError
from cellseg.inference.image_list import InputImage

_GIB = 1 << 30
_BLOCK = 8 << 20
_USER = getattr(os, "getuid", int)()  # Windows has a temporary folder for each user
_THREADS = 16  # that ask for files at a time
_TICK_S = 1.0
_EVERY_S = 15.0  # between signs of life

Given = TypeVar("Given")
Made = TypeVar("Made")
Say = Callable[[str], None]


@dataclass(frozen=True)
class _RemoteFile:
    """One file elsewhere: its store, its path in it, and its own URL."""

    system: Any
    path: str
    url: str


def list_remote_images(urls: Sequence[str], say: Say | None = None) -> list[InputImage]:
    """List the images behind URLs; of stores that list files, globs are taken, too.

    Args:
        urls: https://..., s3://BUCKET/KEY, or another kind that fsspec knows.
        say: Called with a line for the user at least every half minute.

    Returns:
        The images, each with what changes with its content; their paths are file names only.

    Raises:
        CellsegError: If one cannot be found, or a package is missing.
    """
    say = say or (lambda line: None)
    lists = _collect(_expand_url, urls, 1, say, "Looking up URLs")
    files = [file for found in lists for file in found]
    threads = _THREADS if all(getattr(file.system, "async_impl", False) for file in files) else 1
    images = _collect(_describe, files, threads, say, "Asking for the size and date of files")
    counts = Counter(image.name for image in images)
    repeated = next((name for name, count in counts.items() if count > 1), None)
    if repeated is not None:
        raise CellsegError(
            f"Several URLs would be written as {repeated}; predict them into folders of their own."
        )
    return images


@contextmanager
def fetched(image: InputImage, scratch: Path | None, most_gib: float) -> Iterator[InputImage]:
    """Give an image whose file is here; a copy of one elsewhere is kept until another is needed.

    Args:
        image: The image.
        scratch: Folder for copies; a temporary one of the system when None.
        most_gib: Largest copy.

    Raises:
        CellsegError: If it is too large, or cannot be copied.
    """
    if image.url is None:
        yield image
        return
    yield replace(image, path=_Scratch.fetch(image, scratch, most_gib))


def _collect(
    work: Callable[[Given], Made], items: Sequence[Given], threads: int, say: Say, doing: str
) -> list[Made]:
    """Do something for each of many items, some of them at a time, with signs of life."""
    made: list[Made] = []
    due = time.monotonic() + _EVERY_S
    with ThreadPoolExecutor(threads) as pool:
        futures = deque(pool.submit(work, item) for item in items)
        try:
            while futures:
                if wait([futures[0]], timeout=_TICK_S).done:
                    made.append(futures.popleft().result())
                if time.monotonic() >= due:
                    due += _EVERY_S
                    say(f"{doing}: {len(made):,} of {len(items):,} done.")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after an error, or Ctrl-C
    return made


def _expand_url(url: str) -> list[_RemoteFile]:
    """List the files behind one URL."""
    with _explained(url):
        system, path = fsspec.url_to_fs(url)
        has_glob = any(mark in path for mark in "*?[") and not url.lower().startswith("http")
        if not has_glob:
            return [_RemoteFile(system, path, url)]
        paths = sorted(system.glob(path))
        if not paths:
            raise CellsegError(f"{url} matches no file; check it.")
        store = url.partition("://")[0]
        return [_RemoteFile(system, path, f"{store}://{path}") for path in paths]


def _describe(file: _RemoteFile) -> InputImage:
    """Describe one file of a store."""
    with _explained(file.url):
        info = file.system.info(file.path)
    marks = {key: info.get(key) for key in ("size", "ETag", "LastModified", "mtime", "etag")}
    version = hashlib.sha256(repr(sorted(marks.items())).encode()).hexdigest()
    name = PurePosixPath(file.url.partition("?")[0]).name
    return InputImage(Path(name), PurePosixPath(name).stem, file.url, version)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what a store raises into a sentence."""
    try:
        yield
    except ImportError as error:
        raise CellsegError(
            f"{url} needs a package that is not installed ({error}); install the extra: pip "
            "install 'cellseg-mmdet[remote]'."
        ) from error
    except CellsegError:
        raise
    except Exception as error:  # every store has errors of its own
        raise CellsegError(f"{url} cannot be read ({_shorten(error)}); check it.") from error


class _Scratch:
    """The folder of this process for copies; it holds one at a time and goes with the process."""

    folder: Path | None = None
    held: tuple[str | None, str] | None = None
    path = Path()

    @classmethod
    def fetch(cls, image: InputImage, scratch: Path | None, most_gib: float) -> Path:
        """Return where the copy of an image is, made now unless it is the one held."""
        if cls.held == (image.url, image.version) and cls.path.is_file():
            return cls.path
        cls._make_folder(scratch)
        cls.drop()
        assert cls.folder is not None
        path = cls.folder / image.path.name
        try:
            _copy(image, path, most_gib)
        except CellsegError:
            path.unlink(missing_ok=True)
            raise
        except Exception as error:
            path.unlink(missing_ok=True)
            raise CellsegError(f"{image.url} cannot be read ({_shorten(error)}).") from error
        cls.held, cls.path = (image.url, image.version), path
        return path

    @classmethod
    def drop(cls) -> None:
        """Remove the copy held."""
        if cls.held is not None:
            cls.path.unlink(missing_ok=True)
            cls.held = None

    @classmethod
    def _make_folder(cls, scratch: Path | None) -> None:
        """Make the folder, and remove those of processes of this machine that are gone."""
        if cls.folder is not None and cls.folder.is_dir():
            return
        root = scratch or Path(tempfile.gettempdir()) / f"cellseg-scratch-{_USER}"
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        host = socket.gethostname()  # the folder may be on a disk that machines share
        for other in root.iterdir():
            owner, _, number = other.name.rpartition("-")
            is_own = owner == host and number.isdigit()
            if is_own and not psutil.pid_exists(int(number)):
                shutil.rmtree(other, ignore_errors=True)
        cls.folder = root / f"{host}-{os.getpid()}"
        shutil.rmtree(cls.folder, ignore_errors=True)  # of an earlier process of this number
        cls.folder.mkdir()
        atexit.register(shutil.rmtree, cls.folder, ignore_errors=True)


def drop_copy() -> None:
    """Remove the copy that this process holds."""
    _Scratch.drop()


def _copy(image: InputImage, path: Path, most_gib: float) -> None:
    """Copy an image block by block, never more than allowed."""
    system, remote = fsspec.url_to_fs(image.url)
    size = system.info(remote).get("size")
    free = shutil.disk_usage(path.parent).free
    most = min(most_gib * _GIB, free)
    told = f"{image.url} is larger than the {most / _GIB:.3g} GiB of the scratch folder"
    if size is not None and size > most:
        raise CellsegError(f"{told} {path.parent.parent}; give more with --scratch-gb.")
    written = 0
    with system.open(remote, "rb") as source, path.open("wb") as copy:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > most:
                raise CellsegError(f"{told} {path.parent.parent}; give more with --scratch-gb.")
            copy.write(block)
    if size is not None and written != size:
        raise CellsegError(
            f"{image.url} ended after {written:,} of {size:,} bytes; run the same command again."
        )


def _shorten(error: Exception) -> str:
    """Return the first line of an error."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
