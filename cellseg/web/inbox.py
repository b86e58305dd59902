"""Uploads on their way from a browser to a file: few at a time, bounded in size and time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.types import Message, Receive

from cellseg.web.guard import RefusedError

MOST_ACTIVE = 4
IDLE_S = 60.0
LONGEST_S = 3600.0


class Inbox:
    """Takes files that browsers send.

    Args:
        max_bytes: Largest file.
    """

    def __init__(self, max_bytes: int) -> None:
        """Start without uploads; see the class."""
        self.max_bytes = max_bytes
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

    async def store(self, receive: Receive, path: Path) -> None:
        """Write the body of a request into a file.

        Args:
            receive: The request's.
            path: The file; its caller removes it where this fails.

        Raises:
            RefusedError: If it is too large, too slow, or cut off.
        """
        async with asyncio.timeout(LONGEST_S):
            await self._store(receive, path)

    async def _store(self, receive: Receive, path: Path) -> None:
        """Write the body of a request into a file."""
        size = 0
        with path.open("wb") as file:
            while True:
                message = await receive_in_time(receive)
                if message["type"] == "http.disconnect":
                    raise RefusedError(400, "The upload was cut off; send the image again.")
                part = message.get("body", b"")
                size += len(part)
                if size > self.max_bytes:
                    raise RefusedError(
                        413,
                        f"The file has more than the limit of {self.max_bytes / 2**20:.3g} MiB; "
                        "start the page with a larger --max-mb, or with the file itself: "
                        "cellseg web FILE.",
                    )
                await asyncio.to_thread(file.write, part)
                if not message.get("more_body"):
                    return


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
