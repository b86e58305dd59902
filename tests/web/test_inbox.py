"""Uploads arrive whole, in time and within their bounds, or not at all."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")

from cellseg.web import inbox as module
from cellseg.web.disk_space import DiskSpace
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


@pytest.mark.parametrize("declared", [0, 5, 9, 10**9])
def test_upload_when_there_is_no_room_then_it_is_read_to_its_end_and_nothing_kept(
    tmp_path: Path, declared: int
) -> None:
    space = DiskSpace(tmp_path, max_bytes=4, least_free=0)
    receive = make_receive([b"abc", b"de", b"fghi"])
    with pytest.raises(RefusedError, match="--max-gb") as refused:
        asyncio.run(Inbox(10, space).store(receive, tmp_path / "arriving", declared or 9))
    assert refused.value.status == 507
    assert (tmp_path / "arriving").read_bytes() == b""
    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(receive())  # nothing is left


def test_upload_when_the_disk_fills_meanwhile_then_it_is_refused_and_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHECKED_BYTES", 10_000)
    space = DiskSpace(tmp_path, max_bytes=20_000, least_free=0)
    parts = [bytes(10_000), bytes(10_000)]  # more than a file buffers
    path = tmp_path / "arriving"
    asyncio.run(Inbox(30_000, space).store(make_receive(parts), path))
    (tmp_path / "other").write_bytes(bytes(5_000))
    path.unlink()
    with pytest.raises(RefusedError, match="--max-gb"):
        asyncio.run(Inbox(30_000, space).store(make_receive(parts), path))
    assert path.read_bytes() == b""


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
