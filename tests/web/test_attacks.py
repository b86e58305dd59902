"""Raw requests to a page that is being served: nothing but the own upload is read or fetched."""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

from cellseg.web.disk_space import DiskSpace
from cellseg.web.own_names import find_own_names

from .serving import MAX_BYTES, Served, serve_page

WHOLE = [[0, 0], [96, 0], [96, 96]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve one page for all tests here."""
    with serve_page(tmp_path_factory.mktemp("web")) as page:
        yield page


def list_files(served: Served) -> list[Path]:
    # os.walk, unlike rglob, does not mind a folder that the server removes meanwhile
    walked = os.walk(served.folder / "uploads")
    return [Path(folder, name) for folder, _, names in walked for name in names]


def test_files_of_the_server_then_none_is_read(
    served: Served, draw: Callable[..., Path], tmp_path: Path
) -> None:
    visitor = served.visit()
    secret = draw(3, "secret.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(secret)
    names = [secret, tmp_path / "pipe.png", tmp_path / "link.png", tmp_path, "secret.png"]
    names += ["/etc/passwd", "/dev/zero", "../../secret.png", "..", "%2e%2e%2fsecret.png"]
    for name in map(str, names):
        for address in (
            f"/static/{name}",
            f"/static/{quote(name, safe='')}",
            f"/api/images/{name}",
            f"/api/images/{quote(name, safe='')}/cells",
            f"/api/images/{name}/tiles/0/0/0",
        ):
            assert visitor.read(address.replace(" ", "%20")).status == 404, address
        # A name of an upload is only ever shown: no file is opened by it.
        answer = visitor.post(f"/api/images?name={quote(name)}", b"not an image")
        assert answer.status == 422
    assert list_files(served) == []


def test_addresses_then_nothing_is_fetched(served: Served, draw: Callable[..., Path]) -> None:
    visitor = served.visit()
    image = visitor.send(draw(1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.3)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/a.png"
        for path in (address, address.replace("http", "HTTP"), address.removeprefix("http:")):
            assert visitor.post("/api/images", path.encode()).status == 422
            assert visitor.change("/api/images", url=path).status == 422
            for name in ("edit", "predict"):
                values: dict[str, Any] = {"do": "draw", "points": path, "url": path, "keys": [path]}
                assert visitor.change(f"{image}/{name}", **values).status in (400, 409)
            assert visitor.read(f"/static/{path}").status == 404
        with pytest.raises(TimeoutError):
            listener.accept()
    visitor.change(f"{image}/remove")


def test_image_of_another_person_then_as_if_it_were_not_there(
    served: Served, draw: Callable[..., Path]
) -> None:
    mine, theirs = served.visit(), served.visit()
    image = mine.send(draw(3))
    mine.predict(image)
    reads = [image, f"{image}/cells", f"{image}/job", f"{image}/export/csv"]
    reads.append(f"{image}/tiles/0/0/0")
    changes = [f"{image}/{name}" for name in ("edit", "undo", "redo", "predict", "cancel")]
    changes.append(f"{image}/remove")
    for path in reads:
        assert mine.read(path).status == 200
        assert theirs.read(path).status == 404
        assert served.ask("GET", path).status == 404  # without a cookie
        assert served.ask("GET", path, Cookie=f"cellseg={'a' * 32}").status == 404
    for path in changes:
        answer = theirs.change(path, revision=1, do="delete", keys=[1], points=WHOLE)
        assert answer.status == 404
    assert image.rpartition("/")[2] not in theirs.read("/api/state").content.decode()
    assert theirs.read("/api/training-data").status == 422
    assert len(mine.cells(image)["cells"]) == 3
    mine.change(f"{image}/remove")


def test_upload_when_it_is_cut_off_then_nothing_of_it_stays(served: Served) -> None:
    place, visitor = urlsplit(served.address), served.visit()
    for _ in range(3):
        with socket.create_connection((place.hostname, place.port)) as connection:
            head = f"POST /api/images?name=a.png HTTP/1.1\r\nHost: {place.netloc}\r\n"
            head += f"Cookie: {visitor.cookie}\r\nX-Cellseg: 1\r\nContent-Length: 900000\r\n\r\n"
            connection.sendall(head.encode() + bytes(200_000))
            time.sleep(0.2)
    until = time.monotonic() + 60
    while list_files(served) and time.monotonic() < until:
        time.sleep(0.05)
    assert list_files(served) == []


def test_upload_when_too_large_or_of_no_person_then_refused(
    served: Served, draw: Callable[..., Path]
) -> None:
    assert served.visit().post("/api/images", bytes(MAX_BYTES + 1)).status == 413
    content = draw(1).read_bytes()
    assert served.ask("POST", "/api/images", content, x_cellseg="1").status == 403
    answer = served.ask("POST", "/api/images", content, x_cellseg="1", Cookie="cellseg=../a")
    assert answer.status == 403
    assert list_files(served) == []


def test_uploads_when_all_together_are_too_much_then_refused_until_one_is_removed(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    path = draw(1)
    noise = b"\0" * 700_000
    kept = tmp_path / "web" / "uploads"
    space = DiskSpace(kept, max_bytes=path.stat().st_size + 600_000, least_free=0)
    with serve_page(tmp_path / "web", space=space) as served:
        visitor, other = served.visit(), served.visit()
        image = visitor.send(path)
        before = list_files(served)
        for person in (visitor, other):  # the sum of all counts
            answer = person.post("/api/images?name=a.png", noise)
            assert answer.status == 507
            assert "--max-gb" in answer.json()["error"]
            chunks = (noise[at : at + 10_000] for at in range(0, len(noise), 10_000))
            answer = person.post("/api/images?name=a.png", chunks)
            assert answer.status in (422, 507)  # its size is not told, so that it may arrive
        assert list_files(served) == before
        visitor.change(f"{image}/remove")
        assert other.upload(path).status == 200


def test_disk_when_too_full_then_neither_uploads_nor_steps(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    space = DiskSpace(tmp_path, least_free=2**70)
    with serve_page(tmp_path / "web", given=[draw(2)], space=space) as served:
        visitor = served.visit()
        answers = [visitor.upload(draw(1)), visitor.change("/api/images/g0/predict")]
        answers.append(visitor.edit("/api/images/g0", do="draw", label=0, points=WHOLE))
        for answer in answers:
            assert answer.status == 507
            assert "disk of the server" in answer.json()["error"]
        assert list_files(served) == []
        assert visitor.read("/api/images/g0/export/csv").status == 200  # to take it elsewhere


def test_other_sites_then_they_are_refused(served: Served, draw: Callable[..., Path]) -> None:
    visitor = served.visit()
    image = visitor.send(draw(1))
    own = served.address.rstrip("/")
    path, body = f"{image}/cancel", b"{}"
    assert visitor.post(path, body, Origin="http://evil.example").status == 403
    assert visitor.post(path, body, Origin="null").status == 403
    assert visitor.post(path, body, sec_fetch_site="cross-site").status == 403
    assert visitor.post(path, body, Origin=own).status == 200
    assert served.ask("POST", path, body, Cookie=visitor.cookie).status == 403  # as a form would
    assert visitor.post(path, body, Host="evil.example").status == 421
    for name in ("/", "/api/state", f"{image}/tiles/0/0/0"):
        assert served.ask("GET", name, Host="evil.example", Cookie=visitor.cookie).status == 421
    for name in ("X_Forwarded_Host", "X_Forwarded_Server", "Forwarded"):
        answer = served.ask("GET", "/api/state", **{name: "evil.example"})
        assert b"evil" not in answer.content
    visitor.change(f"{image}/remove")


def test_name_of_another_site_that_leads_here_then_refused_in_a_network_too(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    names = find_own_names("0.0.0.0", ["cells.example.org"])
    with serve_page(tmp_path / "web", given=[draw(1)], names=names) as served:
        visitor = served.visit()
        content = draw(1).read_bytes()
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example:80", ""):
            own = {"Host": host, "Origin": f"http://{host}", "sec_fetch_site": "same-origin"}
            for path in ("/", "/api/state", "/api/images/g0", "/static/main.js", "/nothing"):
                answer = served.ask("GET", path, Cookie=visitor.cookie, **own)
                assert answer.status == 421
                assert "--allow-host" in answer.json()["error"]
                assert "set-cookie" not in answer.headers
            assert visitor.post("/api/images", content, **own).status == 421
            assert visitor.post("/api/images/g0/predict", b"{}", **own).status == 421
        assert list_files(served) == []
        for host in ("localhost", "192.168.1.2:7860", "[fe80::1]:80", "cells.example.org"):
            own = {"Host": host, "Origin": f"http://{host}", "sec_fetch_site": "same-origin"}
            assert visitor.post("/api/images/g0/cancel", b"{}", **own).status == 200
        place = urlsplit(served.address)
        for head in ("GET /api/state HTTP/1.0", "GET / HTTP/1.1\r\nHost: a\r\nHost: localhost"):
            with socket.create_connection((place.hostname, place.port)) as connection:
                connection.sendall(f"{head}\r\n\r\n".encode())
                assert connection.recv(99).split()[1] in (b"400", b"421")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"[" * 50_000, b"\xff", b'"x"', b"1"],
)
def test_change_that_is_no_object_then_400(
    served: Served, draw: Callable[..., Path], body: bytes
) -> None:
    visitor = served.visit()
    image = visitor.send(draw(1))
    assert visitor.post(f"{image}/edit", body).status == 400
    visitor.change(f"{image}/remove")


HUGE = 10**400


@pytest.mark.parametrize(
    ("call", "values"),
    [
        ("predict", {"scale": HUGE}),
        ("predict", {"points": [[HUGE, 0], [9, 9], [0, 90]]}),
        ("predict", {"points": [[1e999, 0], [9, 9], [0, 90]]}),
        ("predict", {"model": {"a": []}}),
        ("edit", {"do": "draw", "label": 0, "points": [[-HUGE, 0], [9, 9], [0, 90]]}),
        ("edit", {"do": "draw", "label": HUGE, "points": WHOLE}),
        ("edit", {"do": "brush", "label": 0, "points": WHOLE, "radius": HUGE}),
        ("edit", {"do": "brush", "label": 0, "points": WHOLE, "radius": float("nan")}),
        ("edit", {"do": "delete", "keys": [HUGE]}),
        ("edit", {"do": "unreview", "region": HUGE}),
        ("edit", {"do": ["draw"]}),
    ],
)
def test_change_when_a_number_is_absurd_then_400(
    served: Served, draw: Callable[..., Path], call: str, values: dict[str, Any]
) -> None:
    visitor = served.visit()
    image = visitor.send(draw(1))
    answer = visitor.change(f"{image}/{call}", revision=0, **values)
    assert (answer.status, list(answer.json())) == (400, ["error"])
    visitor.change(f"{image}/remove")


def test_name_of_an_upload_then_no_character_of_it_controls_a_terminal(
    served: Served, draw: Callable[..., Path]
) -> None:
    visitor = served.visit()
    name = quote("a\x1b]0;owned\x07\n\u202egpj.png")
    for content, status in ((draw(1).read_bytes(), 200), (b"notes", 422)):
        answer = visitor.post(f"/api/images?name={name}", content)
        assert answer.status == status
        words = answer.json()["name" if status == 200 else "error"]
        assert words.startswith("a_]0;owned___gpj.png")
        if status == 200:
            visitor.change(f"/api/images/{answer.json()['key']}/remove")


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are UTF-8 there")
def test_image_given_when_its_name_is_not_utf8_then_shown(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.tif"))
    draw(2).rename(path)
    with serve_page(tmp_path / "web", given=[path]) as served:
        visitor = served.visit()
        assert visitor.read("/api/state").json()["images"][0]["name"] == "caf_"
        assert visitor.read("/api/images/g0").status == 200
        visitor.predict("/api/images/g0")
        assert visitor.read("/api/images/g0/export/csv").status == 200


def test_change_when_too_long_then_413(served: Served, draw: Callable[..., Path]) -> None:
    visitor = served.visit()
    image = visitor.send(draw(1))
    body = json.dumps({"points": [[1, 1]] * 200_000}).encode()
    assert visitor.post(f"{image}/edit", body).status == 413
    visitor.change(f"{image}/remove")


def test_words_of_a_file_then_they_come_back_as_text_only(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "<img src=x onerror=alert(1)>.png"
    path.write_bytes(b"notes")
    answer = served.visit().upload(path)
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"].startswith("<img src=x")


def test_password_when_set_then_asked_of_all(tmp_path: Path) -> None:
    with serve_page(tmp_path / "web", password="secret") as served:
        for path in ("/", "/static/main.js", "/api/state", "/api/images/g0/cells"):
            assert served.ask("GET", path).status == 401
        assert served.ask("POST", "/api/images", b"x", x_cellseg="1").status == 401
        basic = "Basic eDpzZWNyZXQ="  # x:secret
        assert served.ask("GET", "/", Authorization=basic).status == 200
