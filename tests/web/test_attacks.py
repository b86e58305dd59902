"""Raw requests to a page that is being served: nothing but the own upload is read or fetched."""

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from .serving import Served, serve_page

BORDER = "border"
FORM = {"Content-Type": f"multipart/form-data; boundary={BORDER}"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve one page for all tests here."""
    with serve_page(tmp_path_factory.mktemp("web")) as page:
        yield page


@pytest.fixture
def listener() -> Iterator[tuple[str, list[bytes]]]:
    """Listen on loopback: an address, and whatever is asked there."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        stop = threading.Event()

        def listen() -> None:
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    asked.append(connection.recv(1000))

        thread = threading.Thread(target=listen)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/a.png", asked
        stop.set()
        thread.join()


def ask(
    served: Served, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes]:
    place = urlsplit(served.address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=120)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, names)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def call(served: Served, number: Any, *values: Any, session: str = "s") -> tuple[int, bytes]:
    """Call a function of the page, at once and through the queue; both answers must agree."""
    body = json.dumps({"fn_index": number, "data": values, "session_hash": session}).encode()
    kind = {"Content_Type": "application/json"}
    queued = ask(served, "POST", "/gradio_api/queue/join", body, **kind)
    direct = ask(served, "POST", "/gradio_api/run/predict", body, **kind)
    return direct if direct[0] != 404 else queued


def make_form(content: bytes, name: str = "a.png") -> bytes:
    head = f'Content-Disposition: form-data; name="files"; filename="{name}"'
    return f"--{BORDER}\r\n{head}\r\n\r\n".encode() + content + f"\r\n--{BORDER}--\r\n".encode()


def upload(served: Served, content: bytes) -> str:
    form = {"Content_Type": FORM["Content-Type"]}
    status, answer = ask(served, "POST", "/gradio_api/upload", make_form(content), **form)
    assert status == 200
    return str(json.loads(answer)[0])


def list_uploads(served: Served) -> list[Path]:
    return [path for path in (served.folder / "gradio").rglob("*") if path.is_file()]


def test_files_of_the_server_then_none_is_read(served: Served, draw: Any, tmp_path: Path) -> None:
    secret = draw(3, "secret.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(secret)
    inside = served.folder / "gradio" / "hidden.png"
    inside.parent.mkdir(exist_ok=True)
    inside.write_bytes(secret.read_bytes())
    paths = [secret, tmp_path / "pipe.png", tmp_path / "link.png", tmp_path, inside, "secret.png"]
    paths += ["/etc/passwd", "/dev/zero", "/dev/stdin", f"{inside}/../../secret.png", ".hidden.png"]
    for path in paths:
        file = {"path": str(path), "meta": {"_type": "gradio.FileData"}, "orig_name": "a.png"}
        status, answer = call(served, 0, file)
        assert (status, b"no upload of this page" in answer) == (400, True), path
        assert ask(served, "GET", f"/gradio_api/file={path}")[0] == 404
    assert len(served.service.store) == 0
    assert ask(served, "GET", "/")[0] == 200


def test_addresses_then_nothing_is_fetched(served: Served, listener: Any) -> None:
    address, asked = listener
    for path in (address, address.replace("http", "HTTP"), address.removeprefix("http:")):
        for extra in ({}, {"url": address}, {"is_stream": True}):
            file = {"path": path, "meta": {"_type": "gradio.FileData"}, **extra}
            assert call(served, 0, file)[0] == 400
            for number in (1, 2):
                assert call(served, number, file, True)[0] == 400
                assert call(served, number, 0.5, file)[0] == 400
        assert ask(served, "GET", f"/gradio_api/proxy={path}")[0] == 404
        assert ask(served, "GET", f"/gradio_api/file={path}")[0] == 404
    time.sleep(0.5)
    assert asked == []


def test_upload_then_one_page_can_take_it_once_and_nothing_stays(served: Served, draw: Any) -> None:
    path = upload(served, draw(3).read_bytes())
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    assert b"a.png" in call_once(served, file, "mine")[1]
    assert call_once(served, file, "theirs")[0] == 400
    assert list_uploads(served) == []
    served.service.store.close("mine")


def call_once(served: Served, file: Any, session: str) -> tuple[int, bytes]:
    body = json.dumps({"fn_index": 0, "data": [file], "session_hash": session}).encode()
    kind = {"Content_Type": "application/json"}
    return ask(served, "POST", "/gradio_api/run/predict", body, **kind)


def test_upload_when_it_is_cut_off_then_nothing_of_it_stays(served: Served) -> None:
    place = urlsplit(served.address)
    for _ in range(3):
        with socket.create_connection((place.hostname, place.port)) as connection:
            head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {place.netloc}\r\n"
            head += f"Content-Type: {FORM['Content-Type']}\r\nContent-Length: 900000\r\n\r\n"
            connection.sendall(head.encode() + make_form(bytes(200_000))[:-20])
            time.sleep(0.2)
    until = time.monotonic() + 60
    while list_uploads(served) and time.monotonic() < until:
        time.sleep(0.05)
    assert list_uploads(served) == []


def test_upload_of_many_files_then_all_together_are_bounded(served: Served) -> None:
    one = make_form(bytes(600_000)).rsplit(b"--", 2)[0]
    body = (
        b"".join(one.replace(b"--border--", b"") for _ in range(3)) + f"--{BORDER}--\r\n".encode()
    )
    form = {"Content_Type": FORM["Content-Type"]}
    assert ask(served, "POST", "/gradio_api/upload", body, **form)[0] == 413
    assert list_uploads(served) == []


@pytest.mark.parametrize("number", [99, -1, "receive", None])
def test_unknown_function_then_404(served: Served, number: Any) -> None:
    assert call(served, number, None)[0] == 404


def test_other_sites_then_they_are_refused(served: Served) -> None:
    body = json.dumps({"fn_index": 0, "data": [None], "session_hash": "a"}).encode()
    kind = {"Content_Type": "application/json"}
    path = "/gradio_api/run/predict"
    assert ask(served, "POST", path, body, Origin="http://evil.example", **kind)[0] == 403
    assert ask(served, "POST", path, body, Origin=served.address.rstrip("/"), **kind)[0] == 200
    assert ask(served, "POST", path, body, Host="evil.example", **kind)[0] == 400
    for name in ("X_Forwarded_Host", "X_Forwarded_Server", "Forwarded"):
        assert b"evil" not in ask(served, "GET", "/config", **{name: "evil.example"})[1]


def test_password_when_set_then_asked_of_all(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    with serve_page(tmp_path / "web", password="secret") as served:
        assert ask(served, "GET", "/")[0] == 401
        assert ask(served, "GET", "/cells/a/b/csv?score=1")[0] == 401
        assert ask(served, "GET", "/", Authorization="Basic eDpzZWNyZXQ=")[0] == 200  # x:secret
