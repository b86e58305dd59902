"""What is kept for each person who uses the page, apart from all others."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from cellseg.errors import CellsegError
from cellseg.fileio import write_atomically
from cellseg.web.page_images import PageImage

MOST_IMAGES = 50
_FACTS = "image.json"
_KEY = re.compile(r"[0-9a-f]{16}")
_LONGEST_NAME = 200


class FullError(CellsegError):
    """Say that the server keeps as much as it can."""


class Session:
    """One person's uploads.

    Args:
        folder: Holds a folder for each image; made with the first one.
    """

    def __init__(self, folder: Path) -> None:
        """Find the images that are there already; see the class."""
        self.folder = folder
        self.images: dict[str, PageImage] = {}
        self.used = time.monotonic()
        for own in sorted(folder.iterdir()) if folder.is_dir() else ():
            if _KEY.fullmatch(own.name):
                image = _read_image(own)
                if image is None:
                    shutil.rmtree(own, ignore_errors=True)  # it had not arrived when a kill came
                else:
                    self.images[image.key] = image

    def begin(self) -> Path:
        """Make the folder of an image that arrives.

        Raises:
            FullError: If there are too many already.
        """
        if len(self.images) >= MOST_IMAGES:
            raise FullError(f"{MOST_IMAGES} images are kept already; remove one first.")
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir(parents=True, mode=0o700)
        return folder

    def add(self, folder: Path, path: Path, name: str) -> PageImage:
        """Keep an image that has arrived and was checked.

        Args:
            folder: From `begin`.
            path: The file, in there.
            name: What its sender calls it.
        """
        name = name[-_LONGEST_NAME:]
        facts = {"name": name, "file": path.name, "since": time.time()}
        write_atomically(folder / _FACTS, json.dumps(facts))
        image = PageImage(folder.name, name, path, folder)
        self.images[image.key] = image
        return image

    def remove(self, key: str) -> None:
        """Remove an image and all that is kept of it."""
        self.images.pop(key).remove()

    def has_corrections(self) -> bool:
        """Return whether anything is kept that could not be made again."""
        return any(image.has_corrections() for image in self.images.values())

    def close(self) -> None:
        """Remove everything."""
        for key in list(self.images):
            self.remove(key)
        shutil.rmtree(self.folder, ignore_errors=True)


class SessionStore:
    """All sessions. Where there are too many, the one that rested longest makes room.

    A session with corrections never does: they could not be made again.

    Args:
        folder: Holds a folder for each session; what is there from before is kept.
        given: Images that everybody sees.
        most: How many sessions with images are kept.
    """

    def __init__(self, folder: Path, given: Sequence[PageImage] = (), most: int = 16) -> None:
        """Find the sessions that are there; see the class."""
        self._folder = folder
        self.given = {image.key: image for image in given}
        self.most = most
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        for own in sorted(folder.iterdir()) if folder.is_dir() else ():
            session = Session(own)
            if session.images:
                self._sessions[own.name] = session
            else:
                shutil.rmtree(own, ignore_errors=True)

    def get(self, token: str | None) -> Session | None:
        """Return the session that a token opens; None where there is none."""
        if not token:
            return None
        with self._lock:
            session = self._sessions.get(_name_folder(token))
        if session is not None:
            session.used = time.monotonic()
        return session

    def open(self, token: str) -> Session:
        """Return the session that a token opens, a fresh one the first time.

        Raises:
            FullError: If there are too many that have corrections.
        """
        name = _name_folder(token)
        with self._lock:
            if name not in self._sessions:
                self._make_room()
                self._sessions[name] = Session(self._folder / name)
            session = self._sessions[name]
        session.used = time.monotonic()
        return session

    def find_image(self, token: str | None, key: str) -> PageImage | None:
        """Find an image by its key: one of the session's own, or one given at start."""
        if key in self.given:
            return self.given[key]
        session = self.get(token)
        return session.images.get(key) if session is not None else None

    def list_images(self, token: str | None) -> list[PageImage]:
        """List the images that a session sees."""
        session = self.get(token)
        own = list(session.images.values()) if session is not None else []
        return [*self.given.values(), *own]

    def _make_room(self) -> None:
        """Remove the session that rested longest of those that can be made again."""
        if len(self._sessions) < self.most:
            return
        resting = sorted(self._sessions.items(), key=lambda item: item[1].used)
        for name, session in resting:
            if not session.has_corrections():
                del self._sessions[name]
                session.close()
                return
        raise FullError(
            f"Images of {self.most} people are kept here, all with corrections; whoever runs the "
            "server can remove some from its folder."
        )

    def __len__(self) -> int:
        """Count the sessions."""
        return len(self._sessions)


def make_token() -> str:
    """Make a token that cannot be guessed."""
    return secrets.token_urlsafe(24)


def _name_folder(token: str) -> str:
    """Name the folder of a session, which does not give its token away."""
    return hashlib.sha256(token.encode()).hexdigest()[:32]


def _read_image(folder: Path) -> PageImage | None:
    """Read what is kept of an upload; None where it is not whole."""
    try:
        facts = json.loads((folder / _FACTS).read_text("utf-8"))
        path = folder / Path(str(facts["file"])).name
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return PageImage(folder.name, str(facts["name"]), path, folder) if path.is_file() else None
