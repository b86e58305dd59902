"""Uploads arrive whole, in time and within their bounds, or not at all."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")

from cellseg.web import inbox as module
from cellseg.web.guard import RefusedError
from cellseg.web.inbox import MOST_ACTIVE, Inbox, read_body


def make_receive(parts: Sequence[bytes], ends: bool = True) -> Callable[[], Any]:
    """Make the receiving end of a request whose body comes in parts, or is cut off."""
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if ends:
        messages[-1]["more_body"] = False
    else:
        messages.append({"type": "http.disconnect"})
    rest = iter(messages)

    async def receive() -> Any:
        return next(rest)

    return receive


async def never() -> Any:
    await asyncio.sleep(100)


def test_upload_when_whole_then_the_file_has_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "arriving"
    asyncio.run(Inbox(10).store(make_receive([b"abc", b"", b"defghij"]), path))
    assert path.read_bytes() == b"abcdefghij"


def test_upload_when_too_large_then_no_more_than_that_is_written(tmp_path: Path) -> None:
    path = tmp_path / "arriving"
    with pytest.raises(RefusedError) as refused:
        asyncio.run(Inbox(10).store(make_receive([b"abcdefgh", b"abc", b"x" * 1000]), path))
    assert refused.value.status == 413
    assert "--max-mb" in refused.value.words
    assert path.stat().st_size <= 10


def test_upload_when_cut_off_or_silent_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RefusedError, match="cut off"):
        asyncio.run(Inbox(10).store(make_receive([b"abc"], ends=False), tmp_path / "a"))
    monkeypatch.setattr(module, "IDLE_S", 0.01)
    with pytest.raises(RefusedError, match="too long"):
        asyncio.run(Inbox(10).store(never, tmp_path / "b"))
    with pytest.raises(RefusedError, match="too long"):
        asyncio.run(read_body(never, 10))


def test_uploads_when_too_many_at_a_time_then_refused_until_one_ends() -> None:
    inbox = Inbox(10)
    places = [inbox.place() for _ in range(MOST_ACTIVE)]
    for place in places:
        place.__enter__()
    with pytest.raises(RefusedError) as refused, inbox.place():
        pass
    assert refused.value.status == 503
    places[0].__exit__(None, None, None)
    with inbox.place():
        pass


def test_body_when_too_long_then_refused() -> None:
    assert asyncio.run(read_body(make_receive([b"ab", b"cd"]), 4)) == b"abcd"
    with pytest.raises(RefusedError) as refused:
        asyncio.run(read_body(make_receive([b"ab", b"cde"]), 4))
    assert refused.value.status == 413
    with pytest.raises(RefusedError, match="cut off"):
        asyncio.run(read_body(make_receive([b"ab"], ends=False), 4))
