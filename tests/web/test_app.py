"""The page's answers, by the requests that it makes."""

import errno
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra web is not installed")

from cellseg.web.calls import STATIC

from .serving import Served

VENDOR = STATIC / "vendor"


def test_page_then_it_loads_nothing_from_elsewhere_and_runs_no_inline_script(
    served: Served,
) -> None:
    answer = served.ask("GET", "/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    text = answer.content.decode()
    loaded = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert loaded
    assert [address for address in loaded if "//" in address] == []
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    assert re.findall(r"\son\w+=|\sstyle=|<style", text) == []
    for address in loaded:
        if address.startswith("/"):
            assert served.ask("GET", address).status == 200, address


def test_scripts_of_the_page_then_text_is_never_taken_as_html() -> None:
    for path in STATIC.glob("*.js"):
        text = path.read_text("utf-8")
        words = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
        assert [word for word in words if word in text] == [], path
        assert not re.search(r"new Function|https?://(?!www\.w3\.org)", text), path


def test_bundled_sources_then_each_is_known_with_license_version_and_checksum() -> None:
    sources = json.loads((VENDOR / "sources.json").read_text("utf-8"))
    listed = {}
    for source in sources:
        assert {"name", "version", "license", "source"} <= set(source)
        assert source["license_file"] in source["files"]
        listed |= source["files"]
    found = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "sources.json"
    }
    assert listed == found
    version = next(own["version"] for own in sources if own["name"] == "openseadragon")
    head = (VENDOR / "openseadragon" / "openseadragon.min.js").read_text("utf-8")[:100]
    assert f"openseadragon {version}" in head


def test_cookie_then_scripts_and_other_sites_do_not_see_it(served: Served) -> None:
    answer = served.ask("GET", "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    own = answer.headers["set-cookie"].partition(";")[0]
    assert "set-cookie" not in served.ask("GET", "/", Cookie=own).headers


def test_call_when_the_disk_is_full_then_one_sentence(
    served: Served, draw: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/srv/secret/place")

    monkeypatch.setattr(served.service.store, "open", fail)
    answer = served.visit().upload(draw(1))
    assert answer.status == 507
    assert "No space left on device" in answer.json()["error"]
    assert "secret" not in answer.json()["error"]
