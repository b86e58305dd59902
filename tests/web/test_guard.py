"""What the page answers, and what it refuses, request by request; no server is started."""

import base64
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")

from cellseg.web.guard import RefusedError, check_request

IMAGE = "/api/images/0123456789abcdef"
CHANGES = [f"{IMAGE}/{name}" for name in ("edit", "undo", "redo", "predict", "cancel", "remove")]
CHANGES.append("/api/images")
NAMES = {"127.0.0.1:7860"}


def make_scope(path: str = "/", method: str = "GET", **headers: str) -> dict[str, Any]:
    given = {"host": "127.0.0.1:7860", **{key.replace("_", "-"): v for key, v in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    return {"type": "http", "path": path, "method": method, "headers": raw}


@pytest.mark.parametrize(
    "path",
    ["/", "/static/main.js", "/static/vendor/openseadragon/openseadragon.min.js", "/api/state"]
    + [IMAGE, f"{IMAGE}/cells", f"{IMAGE}/job", f"{IMAGE}/tiles/3/0/12", f"{IMAGE}/export/csv"]
    + ["/api/images/g0", "/api/training-data"],
)
def test_request_that_the_page_makes_then_let_through(path: str) -> None:
    assert check_request(make_scope(path), NAMES)["path"] == path


@pytest.mark.parametrize("path", CHANGES)
def test_change_that_the_page_makes_then_let_through(path: str) -> None:
    assert check_request(make_scope(path, "POST", x_cellseg="1"), NAMES)["path"] == path
    for headers in ({}, {"x_cellseg": "0"}):
        with pytest.raises(RefusedError) as refused:
            check_request(make_scope(path, "POST", **headers), NAMES)
        assert refused.value.status == 403


@pytest.mark.parametrize(
    "path",
    ["/openapi.json", "/docs", "/config", "/gradio_api/upload", "/gradio_api/file=/etc/passwd"]
    + ["/static/../../etc/passwd", "/static//etc/passwd", "/static/..%2f", "/api/images/..", "//"]
    + ["/api/images/A", f"{IMAGE}0", f"{IMAGE}/tiles/../cells", f"{IMAGE}/tiles/1/2", "/metrics"]
    + [f"{IMAGE}/tiles/-1/0/0", f"{IMAGE}/tiles/1e3/0/0", f"{IMAGE}/export/../cells", "/login"]
    + [f"{IMAGE}/cells/x", "/api", "/api/states", "/\n", "/static/a\n", "/api/state\n"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_request_that_the_page_does_not_make_then_404(path: str, method: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_request(make_scope(path, method, x_cellseg="1"), NAMES)
    assert refused.value.status == 404


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:80"}]
    + [{"origin": "http://["}, {"origin": "http://[x]"}]
    + [{"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}, {"origin": ""}],
)
@pytest.mark.parametrize(("path", "method"), [(f"{IMAGE}/edit", "POST"), (f"{IMAGE}/cells", "GET")])
def test_request_of_another_site_then_403(path: str, method: str, headers: dict[str, str]) -> None:
    with pytest.raises(RefusedError) as refused:
        check_request(make_scope(path, method, x_cellseg="1", **headers), NAMES)
    assert refused.value.status == 403


@pytest.mark.parametrize("host", ["evil.example:7860", "", "127.0.0.1"])
@pytest.mark.parametrize(
    ("path", "method"), [("/", "GET"), ("/nothing", "GET"), (CHANGES[0], "POST")]
)
def test_request_that_calls_the_page_by_another_name_then_421(
    path: str, method: str, host: str
) -> None:
    own = {"origin": f"http://{host}", "sec_fetch_site": "same-origin", "x_cellseg": "1"}
    scope = make_scope(path, method, host=host, **own)
    with pytest.raises(RefusedError, match="--allow-host") as refused:
        check_request(scope, NAMES, "s3:cret")  # before the password is asked for
    assert refused.value.status == 421


def test_request_that_has_no_name_or_two_then_421() -> None:
    named = (b"host", b"127.0.0.1:7860")
    for headers in ([], [named, (b"host", b"evil.example")], [named, named]):
        with pytest.raises(RefusedError) as refused:
            check_request({**make_scope(), "headers": headers}, NAMES)
        assert refused.value.status == 421


def test_request_of_the_page_itself_or_a_link_to_it_then_let_through() -> None:
    own = {"origin": "http://127.0.0.1:7860", "sec_fetch_site": "same-origin", "x_cellseg": "1"}
    check_request(make_scope(f"{IMAGE}/edit", "POST", **own), NAMES)
    check_request(make_scope("/", sec_fetch_site="cross-site"), NAMES)


def test_headers_of_proxies_then_nobody_sees_them() -> None:
    scope = make_scope(x_forwarded_host="evil", x_forwarded_proto="https", forwarded="host=evil")
    assert check_request(scope, NAMES)["headers"] == [(b"host", b"127.0.0.1:7860")]


def test_password_when_set_then_asked_of_every_request() -> None:
    right = {"authorization": "Basic " + base64.b64encode(b"me:s3:cret").decode()}
    check_request(make_scope(**right), NAMES, "s3:cret")
    wrong = [{}, {"authorization": "Basic !"}, {"authorization": "Basic "}, {"authorization": "x"}]
    wrong.append({"authorization": "Basic " + base64.b64encode(b"me:other").decode()})
    for headers in wrong:
        with pytest.raises(RefusedError) as refused:
            check_request(make_scope(**headers), NAMES, "s3:cret")
        assert refused.value.status == 401
