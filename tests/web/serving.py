"""Serve a page in this process, on a free port of loopback, for as long as a test needs it."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from cellseg.web.gradio_settings import FOLDERS, SETTINGS, prepare_gradio
from cellseg.web.inbox import Inbox
from cellseg.web.service import CellService
from cellseg.web.sessions import SessionStore
from cellseg.web.uploads import UploadLimits

from .stand_in import BlobFinder


class Served(NamedTuple):
    """A page that is being served: where, and what is behind it."""

    address: str
    service: CellService
    finder: BlobFinder
    folder: Path


@contextmanager
def serve_page(folder: Path, password: str | None = None) -> Iterator[Served]:
    """Serve the page of a BlobFinder that takes files up to 1 MiB; skip without Gradio."""
    pytest.importorskip("gradio", reason="Gradio is not installed")
    with pytest.MonkeyPatch.context() as patch:
        for name in (*SETTINGS, *FOLDERS):
            patch.setenv(name, os.environ.get(name, ""))
        asked: list[object] = []
        look_up = socket.getaddrinfo
        patch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *rest, **options: asked.append(host) or look_up(host, *rest, **options),
        )
        prepare_gradio(folder / "gradio")
        from cellseg.web.page import build_page
        from cellseg.web.server import address_of, build_app, listen, make_server

        (folder / "pages").mkdir()
        finder = BlobFinder()
        limits = UploadLimits(max_bytes=2**20, max_pixels=200 * 200)
        service = CellService(finder, SessionStore(folder / "pages"), limits)
        with listen("127.0.0.1", 0) as listener:
            inbox = Inbox(folder / "gradio", limits.max_bytes)
            page = build_page(service, inbox, "blobs", 0.05)
            server = make_server(build_app(service, page, inbox, password=password))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            try:
                while not server.started and thread.is_alive():
                    time.sleep(0.02)
                yield Served(address_of(listener), service, finder, folder)
            finally:
                server.should_exit = True
                thread.join(60)
        assert not thread.is_alive()
        assert set(asked) <= {"127.0.0.1", "localhost"}  # the server itself asks nobody else
