"""What is kept for each open page, apart from all others, and removed with it."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from pathlib import Path

from cellseg.errors import CellsegError
from cellseg.web.found_cells import FoundCells

_NAME_LENGTH = 80
_MOST_REMEMBERED = 1000


class PageClosedError(CellsegError):
    """Say that a page had to make room for others."""


@dataclass(frozen=True)
class Upload:
    """A file that a page sent: where it lies, and what its sender calls it."""

    path: Path
    name: str

    @property
    def stem(self) -> str:
        """The name without its suffix, fit for a file name everywhere."""
        plain = re.sub(r"[^\w.-]+", "_", Path(self.name).stem).strip("._")
        return plain[:_NAME_LENGTH] or "image"


@dataclass(eq=False)
class Session:
    """One open page.

    Attributes:
        folder: Its files.
        token: Its name in addresses, which cannot be guessed.
        upload: The file that it sent last, until it was looked at.
        found: The cells of its image.
        closed: Whether the page is gone.
    """

    folder: Path
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    upload: Upload | None = None
    found: FoundCells | None = None
    closed: bool = False

    def take(self, path: Path, suffix: str) -> Upload:
        """Keep a file under a name of our own, in place of what there was.

        Args:
            path: The file, whose name is that of its sender.
            suffix: What to call it by.

        Returns:
            The upload.
        """
        self.forget()
        kept = self.folder / f"{secrets.token_hex(8)}{suffix}"
        shutil.copyfile(path, kept)  # pages that send the same file share the original
        self.upload = Upload(kept, path.name)
        return self.upload

    def forget(self) -> None:
        """Drop the image and its cells."""
        if self.upload is not None:
            self.upload.path.unlink(missing_ok=True)
        self.upload = self.found = None

    def close(self) -> None:
        """Drop everything."""
        self.closed = True
        self.forget()
        shutil.rmtree(self.folder, ignore_errors=True)


class SessionStore:
    """All open pages; where there are too many, the one that rested longest is closed.

    Args:
        folder: Holds one folder a page.
        most: How many pages are kept.
    """

    def __init__(self, folder: Path, most: int = 16) -> None:
        """Start without pages; see the class."""
        self._folder = folder
        self.most = most
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._made_room: deque[str] = deque(maxlen=_MOST_REMEMBERED)
        self._lock = threading.Lock()

    def open(self, key: str) -> Session:
        """Return the session of a page, a fresh one the first time and after it made room."""
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                self._forget_room(key)
                session = Session(Path(tempfile.mkdtemp(prefix="page-", dir=self._folder)))
                self._sessions[key] = session
            self._sessions.move_to_end(key)
            resting = list(self._sessions)[: max(len(self._sessions) - self.most, 0)]
            self._made_room.extend(resting)
            closed = [self._sessions.pop(old) for old in resting]
        for old_session in closed:
            old_session.close()
        return session

    def get(self, key: str) -> Session | None:
        """Return the session of a page; None where it has none.

        Raises:
            PageClosedError: If it made room for others and has sent no image since.
        """
        with self._lock:
            session = self._sessions.get(key)
            if session is not None:
                self._sessions.move_to_end(key)
            elif key in self._made_room:
                raise PageClosedError(self.explain_closing())
            return session

    def explain_closing(self) -> str:
        """Say why a page was closed, and the mend."""
        return (
            f"More than {self.most} pages are open, and this one rested longest, so that its image "
            "is not kept any more; reload the page and drop the image again."
        )

    def find(self, token: str) -> Session | None:
        """Return the session with this token; None where there is none."""
        with self._lock:
            sessions = list(self._sessions.values())
        return next(
            (
                session
                for session in sessions
                if secrets.compare_digest(session.token.encode(), token.encode())
            ),
            None,
        )

    def close(self, key: str) -> None:
        """Forget a page and remove its files."""
        with self._lock:
            self._forget_room(key)
            session = self._sessions.pop(key, None)
        if session is not None:
            session.close()

    def close_all(self) -> None:
        """Forget all pages."""
        for key in list(self._sessions):
            self.close(key)

    def _forget_room(self, key: str) -> None:
        """Forget that a page made room for others."""
        if key in self._made_room:
            self._made_room.remove(key)

    def __len__(self) -> int:
        """Count the open pages."""
        return len(self._sessions)
