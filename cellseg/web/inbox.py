"""Uploads on their way from a browser to a file: few at a time, bounded in size, sum and time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.types import Message, Receive

from cellseg.web.disk_space import DiskSpace
from cellseg.web.guard import RefusedError

MOST_ACTIVE = 4
IDLE_S = 60.0
LONGEST_S = 3600.0
_CHECKED_BYTES = 2**24  # others write to the disk, too: look again after so much


class Inbox:
    """Takes files that browsers send.

    Args:
        max_bytes: Largest file.
        space: What all files together may take; anything when None.
    """

    def __init__(self, max_bytes: int, space: DiskSpace | None = None) -> None:
        """Start without uploads; see the class."""
        self.max_bytes, self.space = max_bytes, space
        self._active = 0
        self._lock = threading.Lock()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places for uploads.

        Raises:
            RefusedError: If all are taken.
        """
        with self._lock:
            if self._active >= MOST_ACTIVE:
                raise RefusedError(503, "Too many uploads at a time; try again in a minute.")
            self._active += 1
        try:
            yield
        finally:
            with self._lock:
                self._active -= 1

    async def store(self, receive: Receive, path: Path, declared: int = 0) -> None:
        """Write the body of a request into a file.

        Args:
            receive: The request's.
            path: The file; its caller removes it where this fails.
            declared: How many bytes its sender says it has; 0 where that is not said.

        Raises:
            RefusedError: If it is too large, too slow or cut off, or there is no room: then all is
                read nevertheless, as a browser takes no answer before it has sent everything.
        """
        async with asyncio.timeout(LONGEST_S):
            await self._store(receive, path, min(declared, self.max_bytes))

    async def _store(self, receive: Receive, path: Path, declared: int) -> None:
        """Write the body of a request into a file."""
        size = next_check = 0
        refused: RefusedError | None = None
        with path.open("wb") as file:
            while True:
                message = await receive_in_time(receive)
                if message["type"] == "http.disconnect":
                    raise RefusedError(400, "The upload was cut off; send the image again.")
                part = message.get("body", b"")
                if refused is None and size >= next_check:
                    left = max(declared - size, len(part))
                    refused = await asyncio.to_thread(self._find_refusal, left)
                    next_check = size + _CHECKED_BYTES
                    if refused is not None:
                        file.truncate(0)
                size += len(part)
                if size > self.max_bytes:
                    raise RefusedError(
                        413,
                        f"The file has more than the limit of {self.max_bytes / 2**20:.3g} MiB; "
                        "start the page with a larger --max-mb, or with the file itself: "
                        "cellseg web FILE.",
                    )
                if refused is None:
                    await asyncio.to_thread(file.write, part)
                if not message.get("more_body"):
                    break
        if refused is not None:
            raise refused

    def _find_refusal(self, left: int) -> RefusedError | None:
        """Find out why there is no room for so many more bytes; None where there is."""
        try:
            if self.space is not None:
                self.space.check_upload(left)
        except RefusedError as refused:
            return refused
        return None


async def receive_in_time(receive: Receive) -> Message:
    """Receive the next part of a request, unless its sender falls silent."""
    try:
        return await asyncio.wait_for(receive(), IDLE_S)
    except TimeoutError as error:
        raise RefusedError(408, "The request took too long; try again.") from error


async def read_body(receive: Receive, most: int) -> bytes:
    """Read the body of a request, up to so many bytes.

    Raises:
        RefusedError: If there are more, or they do not come.
    """
    body = bytearray()
    while True:
        message = await receive_in_time(receive)
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "The request was cut off.")
        body += message.get("body", b"")
        if len(body) > most:
            raise RefusedError(413, "The request is too long.")
        if not message.get("more_body"):
            return bytes(body)
