"""What the page answers, and what it refuses, request by request; no server is started."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="Gradio is not installed")

from cellseg.web.guard import RefusedError, check_call, check_request
from cellseg.web.inbox import Inbox

INPUTS = {0: ["file"], 1: ["score", "flag"]}


def make_scope(path: str = "/", method: str = "GET", **headers: str) -> dict[str, Any]:
    given = {"host": "127.0.0.1:7860", **{key.replace("_", "-"): v for key, v in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    return {"type": "http", "path": path, "method": method, "headers": raw}


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    (tmp_path / "inbox").mkdir()
    return Inbox(tmp_path / "inbox", 1000)


def call(inbox: Inbox, number: Any, values: Any, **more: Any) -> dict[str, Any]:
    body = {"fn_index": number, "data": values, "session_hash": "abc", **more}
    return json.loads(check_call(json.dumps(body).encode(), INPUTS, inbox))


def send(inbox: Inbox, tmp_path: Path) -> str:
    """Put a file into the inbox as Gradio does."""
    arrived = tmp_path / "inbox" / "hash" / "a.png"
    arrived.parent.mkdir(parents=True, exist_ok=True)
    arrived.write_bytes(b"content")
    return inbox.add(str(arrived))


@pytest.mark.parametrize(
    "path",
    ["/", "/config", "/theme.css", "/assets/index-a.b_c.js", "/static/fonts/x/y.woff2"]
    + ["/cells/to-ken/key/overlay", "/gradio_api/heartbeat/abc", "/gradio_api/queue/data"],
)
def test_request_that_the_page_makes_then_let_through(path: str) -> None:
    assert check_request(make_scope(path))["path"] == path


@pytest.mark.parametrize(
    "path",
    ["/openapi.json", "/docs", "/gradio_api/openapi.json", "/gradio_api/info", "/monitoring"]
    + ["/gradio_api/file=/etc/passwd", "/gradio_api/file/etc/passwd", "/gradio_api/runs"]
    + ["/gradio_api/proxy=http://10.0.0.1/", "/gradio_api/dev/reload", "/gradio_api/deep_link"]
    + ["/static/../../etc/passwd", "/assets//etc/passwd", "/gradio_api/stream/a/b/c/playlist.m3u8"]
    + ["/gradio_api/heartbeat/a/b", "/login", "/gradio_api/vibe-code", "/svelte/x", "/gradio_api"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_request_that_the_page_does_not_make_then_404(path: str, method: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_request(make_scope(path, method))
    assert refused.value.status == 404


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:80"}]
    + [{"sec_fetch_site": "cross-site"}],
)
def test_request_of_another_site_then_403(headers: dict[str, str]) -> None:
    with pytest.raises(RefusedError) as refused:
        check_request(make_scope("/gradio_api/queue/join", "POST", **headers))
    assert refused.value.status == 403


def test_request_of_the_page_itself_or_a_link_to_it_then_let_through() -> None:
    own = {"origin": "http://127.0.0.1:7860", "sec_fetch_site": "same-origin"}
    check_request(make_scope("/gradio_api/queue/join", "POST", **own))
    check_request(make_scope("/", sec_fetch_site="cross-site"))


def test_headers_of_proxies_then_nobody_sees_them() -> None:
    scope = make_scope(x_forwarded_host="evil", x_forwarded_proto="https", forwarded="host=evil")
    assert check_request(scope)["headers"] == [(b"host", b"127.0.0.1:7860")]


def test_password_when_set_then_asked_of_every_request() -> None:
    right = {"authorization": "Basic " + base64.b64encode(b"me:s3:cret").decode()}
    check_request(make_scope(**right), "s3:cret")
    wrong = [{}, {"authorization": "Basic !"}, {"authorization": "Basic "}, {"authorization": "x"}]
    wrong.append({"authorization": "Basic " + base64.b64encode(b"me:other").decode()})
    for headers in wrong:
        with pytest.raises(RefusedError) as refused:
            check_request(make_scope(**headers), "s3:cret")
        assert refused.value.status == 401


def test_call_when_right_then_only_what_was_checked_goes_on(inbox: Inbox, tmp_path: Path) -> None:
    path = send(inbox, tmp_path)
    file = {"path": path, "url": "http://10.0.0.1/", "meta": {"_type": "x"}, "is_stream": True}
    found = call(inbox, 0, [file], event_data={"path": "/etc/passwd"}, trigger_id=4, more=[1])
    assert found == {
        "data": [{"path": path, "meta": {"_type": "gradio.FileData"}}],
        "event_data": None,
        "fn_index": 0,
        "trigger_id": 4,
        "session_hash": "abc",
    }
    assert call(inbox, 0, [None])["data"] == [None]
    assert call(inbox, 1, [0.5, True])["data"] == [0.5, True]


def test_call_with_a_path_that_is_no_upload_then_refused(inbox: Inbox, tmp_path: Path) -> None:
    own = Path(send(inbox, tmp_path))
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    (own.parent / "link.png").symlink_to(secret)
    paths = [secret, "/etc/passwd", "/dev/zero", "secret.png", "../secret.png", ".hidden", ""]
    paths += [own.parent, own.parent / "link.png", own.parent / ".." / ".." / "secret.png"]
    paths += [f"{own}/../{own.name}", own.relative_to(tmp_path), "http://127.0.0.1/", "file:///x"]
    for path in paths:
        for value in ({"path": str(path)}, str(path), [{"path": str(path)}]):
            with pytest.raises(RefusedError, match="no upload of this page"):
                call(inbox, 0, [value])


@pytest.mark.parametrize("score", [True, "0.5", None, -0.1, 1.1, [0.5], {"path": "/etc/passwd"}])
def test_call_with_a_value_of_another_kind_then_refused(inbox: Inbox, score: Any) -> None:
    with pytest.raises(RefusedError, match="not a score"):
        call(inbox, 1, [score, True])
    flag = 1 if score is True else score
    with pytest.raises(RefusedError, match="not a flag"):
        call(inbox, 1, [0.5, flag])


@pytest.mark.parametrize("number", ["inf", "nan", "1e400"])
def test_call_with_a_number_that_is_none_then_refused(inbox: Inbox, number: str) -> None:
    number = {"inf": "Infinity", "nan": "NaN"}.get(number, number)
    body = f'{{"fn_index": 1, "session_hash": "a", "data": [{number}, true]}}'
    with pytest.raises(RefusedError, match="not a score"):
        check_call(body.encode(), INPUTS, inbox)


@pytest.mark.parametrize("number", [9, -1, "0", None, 0.0, True, [0]])
def test_call_of_an_unknown_function_then_404(inbox: Inbox, number: Any) -> None:
    with pytest.raises(RefusedError) as refused:
        call(inbox, number, [None])
    assert refused.value.status == 404


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"[" * 50_000, b'{"fn_index": 0}', b"\xff"]
    + [b'{"fn_index": 0, "data": {}, "session_hash": "a"}']
    + [b'{"fn_index": 0, "data": [], "session_hash": "a"}']
    + [b'{"fn_index": 0, "data": [null]}']
    + [b'{"fn_index": 0, "data": [null], "session_hash": "../a"}'],
)
def test_call_that_is_none_then_400(inbox: Inbox, body: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        check_call(body, INPUTS, inbox)
    assert refused.value.status == 400
