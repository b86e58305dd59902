"""Serve a page in this process, on a free port of loopback, for as long as a test needs it."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from cellseg.web.inbox import Inbox
from cellseg.web.page_images import OpenImages, list_given
from cellseg.web.prediction import PredictionQueue
from cellseg.web.sessions import SessionStore
from cellseg.web.uploads import UploadLimits

from .stand_in import BlobFinder

MAX_BYTES = 2**20
LIMITS = UploadLimits(max_bytes=MAX_BYTES, max_pixels=400 * 400)


@dataclass
class Answer:
    """What a server answered."""

    status: int
    content: bytes
    headers: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Served:
    """A page that is being served: where, and what is behind it."""

    address: str
    service: Any
    finder: BlobFinder
    folder: Path
    asked: list[object] = field(default_factory=list)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        place = urlsplit(self.address)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=120)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, names)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, content, found)

    def visit(self) -> "Visitor":
        """Open the page as a person with a browser of their own."""
        cookie = self.ask("GET", "/").headers["set-cookie"].partition(";")[0]
        return Visitor(self, cookie)


@dataclass
class Visitor:
    """A person who uses the page without a browser."""

    served: Served
    cookie: str

    def read(self, path: str) -> Answer:
        return self.served.ask("GET", path, Cookie=self.cookie)

    def post(self, path: str, body: bytes, **headers: str) -> Answer:
        return self.served.ask("POST", path, body, Cookie=self.cookie, x_cellseg="1", **headers)

    def change(self, path: str, **values: Any) -> Answer:
        return self.post(path, json.dumps(values).encode())

    def upload(self, path: Path) -> Answer:
        return self.post(f"/api/images?name={quote(path.name)}", path.read_bytes())

    def send(self, path: Path) -> str:
        """Upload an image that is fine; return its address."""
        answer = self.upload(path)
        assert answer.status == 200, answer.content
        return f"/api/images/{answer.json()['key']}"

    def predict(self, image: str, **values: Any) -> dict[str, Any]:
        """Find cells and wait for them; return what is said of the job."""
        assert self.change(f"{image}/predict", **values).status == 200
        end = time.monotonic() + 60
        while time.monotonic() < end:
            job = self.read(f"{image}/job").json()["job"]
            if job["state"] in ("done", "stopped", "failed"):
                return job
            time.sleep(0.02)
        raise TimeoutError("the prediction takes too long")

    def cells(self, image: str) -> dict[str, Any]:
        return self.read(f"{image}/cells").json()

    def edit(self, image: str, **values: Any) -> Answer:
        revision = self.cells(image)["revision"]
        return self.change(f"{image}/edit", revision=revision, **values)


def make_service(
    folder: Path, finder: BlobFinder, given: Sequence[Path] = (), space: Any = None
) -> Any:
    """Make what stands behind a page; it keeps everything in a folder."""
    pytest.importorskip("uvicorn", reason="the extra web is not installed")
    from cellseg.web.calls import PageService

    images = list_given({path.stem: path for path in given}, folder / "corrections")
    store = SessionStore(folder / "uploads", images)
    queue = PredictionQueue(finder, OpenImages(finder.image_format, finder.class_names))
    return PageService(store, queue, LIMITS, Inbox(MAX_BYTES, space))


@contextmanager
def serve_page(
    folder: Path,
    password: str | None = None,
    given: Sequence[Path] = (),
    port: int = 0,
    names: Any = None,
    space: Any = None,
) -> Iterator[Served]:
    """Serve the page of a BlobFinder that takes files up to 1 MiB."""
    pytest.importorskip("starlette", reason="the extra web is not installed")
    from cellseg.web.app import build_app
    from cellseg.web.server import address_of, listen, make_server

    finder = BlobFinder()
    service = make_service(folder, finder, given, space)
    with pytest.MonkeyPatch.context() as patch, listen("127.0.0.1", port) as listener:
        asked: list[object] = []
        look_up = socket.getaddrinfo
        patch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *rest, **options: asked.append(host) or look_up(host, *rest, **options),
        )
        server = make_server(build_app(service, names, password))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.02)
            yield Served(address_of(listener), service, finder, folder, asked)
        finally:
            finder.may_finish.set()
            server.should_exit = True
            thread.join(60)
            service.close()
    assert not thread.is_alive()
    assert set(asked) <= {"127.0.0.1", "localhost"}  # the server itself asks nobody else
