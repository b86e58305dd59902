"""List the files of a folder: hidden ones are skipped, linked folders followed once."""

from __future__ import annotations

import os
from collections.abc import Container
from pathlib import Path

_SYSTEM_NAMES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "__macosx", "$recycle.bin"}


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or is what a system leaves beside others' files.

    macOS writes `._image.tif` and `.DS_Store`, Windows Thumbs.db and desktop.ini, Synology @eaDir.
    """
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def list_files(folder: Path, skipped: Container[Path] = ()) -> list[Path]:
    """List the files below a folder, without hidden ones.

    Links to folders are followed. A folder that can be reached in several ways is listed once, by
    its own path rather than through a link, so that no loop of links is endless.

    Args:
        folder: Where to start; may be a link itself.
        skipped: Folders, resolved, that are left out.

    Returns:
        The files in order of path.
    """
    found: list[Path] = []
    visited: set[Path] = set()
    waiting = [folder]
    while waiting:
        links: list[Path] = []
        for start in waiting:
            _walk(start, skipped, visited, found, links)
        waiting = sorted(links)
    return sorted(found)


def _walk(
    start: Path,
    skipped: Container[Path],
    visited: set[Path],
    found: list[Path],
    links: list[Path],
) -> None:
    """Add the files below a folder to found, and the links to folders, which wait, to links."""
    if start.resolve() in visited:
        return
    for current, folders, files in os.walk(start):
        here = Path(current)
        visited.add(here.resolve())
        paths = [here / name for name in folders if not is_hidden(name)]
        paths = [path for path in paths if path.resolve() not in skipped]
        links += [path for path in paths if path.is_symlink()]
        folders[:] = [
            path.name for path in paths if not path.is_symlink() and path.resolve() not in visited
        ]
        found += [path for name in files if not is_hidden(name) and (path := here / name).is_file()]
