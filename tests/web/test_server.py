"""What is served, to whom, and what browsers are told of it."""

import http.client
import json
import re
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from cellseg.errors import CellsegError
from cellseg.web import fragments

from .serving import Served, serve_page


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve one page for all tests here."""
    with serve_page(tmp_path_factory.mktemp("web")) as page:
        yield page


def _get(served: Served, path: str, host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    place = urlsplit(served.address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    connection.request("GET", f"/{path}", headers={"Host": host or place.netloc})
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    content = answer.read()
    connection.close()
    return answer.status, headers, content


def test_page_then_it_loads_nothing_from_elsewhere(served):
    status, headers, content = _get(served, "")
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    text = content.decode()
    loaded = re.findall(r'(?:src|<link[^>]*href)="([^"]*)"', text)
    assert loaded
    assert [address for address in loaded if "//" in address] == []
    config = json.loads(re.search(r"window\.gradio_config = (\{.*?\});</script>", text)[1])
    assert config["analytics_enabled"] is False
    assert config["max_file_size"] == 2**20
    assert _get(served, "theme.css")[2].count(b"https://") == 0


def test_page_when_reached_by_another_name_then_it_is_not_answered(served):
    assert _get(served, "", "evil.example")[0] == 400
    assert _get(served, "gradio_api/info", "evil.example")[0] == 400
    assert _get(served, "", "localhost")[0] == 200


def test_page_then_its_use_is_not_counted(served):
    assert _get(served, "monitoring/summary")[0] != 200
    assert _get(served, "gradio_api/monitoring/summary")[0] != 200


def test_files_when_the_token_is_right_then_they_hold_the_cells(served, draw):
    service = served.service
    service.receive("a", draw(3, 'sli"de é.png'))
    found, token = service.find("a"), service.store.open("a").token
    num_calls = len(served.finder.calls)
    address = fragments.make_address(token, found.key, "csv", 0.5)
    status, headers, content = _get(served, address)
    assert status == 200
    assert len(content.splitlines()) == 1 + len(found.at(0.5).cells)
    assert headers["content-disposition"].startswith('attachment; filename="sli_de')
    assert headers["cache-control"] == "no-store"
    status, headers, content = _get(
        served, fragments.make_address(token, found.key, "overlay", 0.5)
    )
    assert (status, headers["content-type"], content[:4]) == (200, "image/png", b"\x89PNG")
    assert len(served.finder.calls) == num_calls  # nothing was predicted again


def test_files_of_another_page_or_image_then_they_are_not_found(served, draw):
    service = served.service
    for key, count in (("b", 2), ("c", 4)):
        service.receive(key, draw(count, f"{key}.png"))
        service.find(key)
    (token, own), (_, other) = (
        (service.store.open(key).token, service.store.get(key).found.key) for key in "bc"
    )
    for wrong in ((token, other), ("guess", own), ("b", own), ("", own)):
        address = fragments.make_address(*wrong, "labels", 0.5)
        assert _get(served, address)[0] == 404
    assert _get(served, fragments.make_address(token, own, "passwd", 0.5))[0] == 404
    assert _get(served, fragments.make_address(token, own, "labels", 0.5))[0] == 200
    service.store.close("b")
    status, _, content = _get(served, fragments.make_address(token, own, "labels", 0.5))
    assert (status, b"drop it again" in content) == (404, True)


def test_upload_when_a_file_is_too_large_then_it_is_refused_on_the_way(served):
    border = "border"
    head = f'--{border}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = head.encode() + bytes(2**20 + 1) + f"\r\n--{border}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={border}"}
    request = urllib.request.Request(f"{served.address}gradio_api/upload", body, kind)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    assert caught.value.code == 413
    kept = [path for path in (served.folder / "gradio").rglob("*") if path.is_file()]
    assert all(path.stat().st_size < 2**20 for path in kept)


def test_listen_when_the_port_is_taken_then_words_say_so(served):
    from cellseg.web.server import listen

    port = urlsplit(served.address).port
    with pytest.raises(CellsegError, match=rf"Port {port} of 127\.0\.0\.1 .* --port"):
        listen("127.0.0.1", port)
    with pytest.raises(CellsegError, match="--port"):
        listen("127.0.0.1", 70_000)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("x", False)],
)
def test_is_loopback_then_only_this_machines_own_addresses_are(served, host, expected):
    from cellseg.web.server import is_loopback

    assert is_loopback(host) is expected


def test_server_when_told_to_end_while_it_computes_then_it_ends_by_force(monkeypatch):
    pytest.importorskip("gradio", reason="Gradio is not installed")
    from fastapi import FastAPI

    from cellseg.web import server as module

    ended = threading.Event()
    done: list[object] = []
    monkeypatch.setattr(module, "_LONGEST_END_S", 0.1)
    monkeypatch.setattr(module.os, "_exit", lambda status: (done.append(status), ended.set()))
    server = module.make_server(FastAPI(), lambda: done.append("cleaned up"))
    for _ in range(2):  # Ctrl-C twice
        server.handle_exit(signal.SIGTERM, None)
    assert ended.wait(60)
    assert server.should_exit
    assert done == ["cleaned up", 0]
