"""Images by URL: listed by the client, copied to a bounded folder of the worker that needs one."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import psutil

from cellseg.errors import CellsegError
from cellseg.inference.image_list import InputImage

_GIB = 1 << 30
_BLOCK = 8 << 20
_USER = getattr(os, "getuid", int)()  # Windows has a temporary folder for each user


def list_remote_images(urls: Sequence[str]) -> list[InputImage]:
    """List the images behind URLs; of stores that list files, globs are taken, too.

    Args:
        urls: https://..., s3://BUCKET/KEY, or another kind that fsspec knows.

    Returns:
        The images, each with what changes with its content; their paths are file names only.

    Raises:
        CellsegError: If one cannot be found, or a package is missing.
    """
    images = [image for url in urls for image in _list_url(url)]
    names = [image.name for image in images]
    repeated = next((name for name in names if names.count(name) > 1), None)
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


def _list_url(url: str) -> list[InputImage]:
    """List the images behind one URL."""
    try:
        system, path = fsspec.url_to_fs(url)
        has_glob = any(mark in path for mark in "*?[") and not url.lower().startswith("http")
        paths = sorted(system.glob(path)) if has_glob else [path]
        if not paths:
            raise CellsegError(f"{url} matches no file; check it.")
        return [_describe(system, found, url, has_glob) for found in paths]
    except ImportError as error:
        raise CellsegError(
            f"{url} needs a package that is not installed ({error}); install the extra: pip "
            "install 'cellseg-mmdet[remote]'."
        ) from error
    except CellsegError:
        raise
    except Exception as error:  # every store has errors of its own
        raise CellsegError(f"{url} cannot be read ({_shorten(error)}); check it.") from error


def _describe(system: Any, path: str, url: str, has_glob: bool) -> InputImage:
    """Describe one file of a store."""
    info = system.info(path)
    marks = {key: info.get(key) for key in ("size", "ETag", "LastModified", "mtime", "etag")}
    version = hashlib.sha256(repr(sorted(marks.items())).encode()).hexdigest()
    full = f"{url.partition('://')[0]}://{path}" if has_glob else url
    name = PurePosixPath(full.partition("?")[0]).name
    return InputImage(Path(name), PurePosixPath(name).stem, full, version)


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
        """Make the folder, and remove those of processes that are gone."""
        if cls.folder is not None and cls.folder.is_dir():
            return
        root = scratch or Path(tempfile.gettempdir()) / f"cellseg-scratch-{_USER}"
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for other in root.iterdir():
            if other.name.isdigit() and not psutil.pid_exists(int(other.name)):
                shutil.rmtree(other, ignore_errors=True)
        cls.folder = root / str(os.getpid())
        cls.folder.mkdir(exist_ok=True)
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
