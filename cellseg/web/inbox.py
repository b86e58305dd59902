"""Files on their way from a browser to a page: few, for a short time, under names of our own."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import OrderedDict
from pathlib import Path

_KEPT_S = 300.0
_MOST_PENDING = 16
_MOST_ACTIVE = 4


class Inbox:
    """The folder that uploads arrive in. What no page takes is removed.

    Args:
        folder: The folder; nothing else writes there.
        max_bytes: Largest file.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Start empty; see the class."""
        self._folder = folder.resolve()
        self.max_bytes = max_bytes
        self._pending: OrderedDict[str, float] = OrderedDict()
        self._active = 0
        self._lock = threading.Lock()

    def begin(self) -> bool:
        """Count an upload that begins; False where too many are under way."""
        with self._lock:
            self._drop_old()
            if self._active >= _MOST_ACTIVE:
                return False
            self._active += 1
            return True

    def end(self) -> None:
        """Count an upload that has ended in any way, and remove what aborted ones have left."""
        with self._lock:
            self._active -= 1
            if self._active == 0:
                self._sweep()

    def add(self, path: str) -> str:
        """Take a file that has arrived, under an address that cannot be guessed.

        Args:
            path: Where it lies in the folder.

        Returns:
            Where it lies now.
        """
        arrived = Path(path)
        place = self._folder / f"in-{secrets.token_urlsafe(18)}"
        place.mkdir()
        kept = arrived.replace(place / arrived.name)
        with self._lock:
            self._pending[str(kept)] = time.monotonic()
            self._drop_old()
        return str(kept)

    def __contains__(self, path: object) -> bool:
        """Return whether a path is that of an upload which no page has taken yet."""
        with self._lock:
            self._drop_old()
            return path in self._pending

    def remove(self, path: str | Path) -> None:
        """Remove an upload, once a page has taken or refused it, and what Gradio made of it."""
        with self._lock:
            self._pending.pop(str(path), None)
            self._delete(Path(path))
            if self._active == 0:
                self._sweep()

    def _drop_old(self) -> None:
        """Remove uploads that no page has used, and the oldest where there are too many."""
        now = time.monotonic()
        for path, since in list(self._pending.items()):
            if now - since > _KEPT_S or len(self._pending) > _MOST_PENDING:
                del self._pending[path]
                self._delete(Path(path))

    def _sweep(self) -> None:
        """Remove all but the uploads that wait."""
        waiting = {Path(path).parent for path in self._pending}
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                if path not in waiting:
                    shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _delete(self, path: Path) -> None:
        """Remove a file of this folder with the folder of its own."""
        if path.parent.parent == self._folder:
            shutil.rmtree(path.parent, ignore_errors=True)
