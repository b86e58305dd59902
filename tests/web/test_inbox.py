"""Uploads wait for their page a while, and leave nothing behind."""

from pathlib import Path

import pytest

from cellseg.web import inbox as module
from cellseg.web.inbox import Inbox


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "in", 1000)


def arrive(inbox: Inbox, tmp_path: Path, name: str = "a.png") -> str:
    path = tmp_path / "in" / "hash" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"content")
    return inbox.add(str(path))


def list_files(tmp_path: Path) -> list[str]:
    return [str(path) for path in sorted((tmp_path / "in").rglob("*")) if path.is_file()]


def test_upload_when_sent_twice_then_each_has_its_own_address(inbox, tmp_path) -> None:
    first, second = arrive(inbox, tmp_path), arrive(inbox, tmp_path)
    assert first != second
    assert first in inbox
    assert second in inbox
    (tmp_path / "in" / "tmpabc").write_bytes(b"")
    inbox.remove(first)
    assert first not in inbox
    assert list_files(tmp_path) == [second]


def test_upload_when_aborted_then_what_is_there_of_it_is_removed(inbox, tmp_path) -> None:
    waiting = arrive(inbox, tmp_path)
    assert inbox.begin()
    assert inbox.begin()
    (tmp_path / "in" / "tmpabc").write_bytes(b"half")
    inbox.end()
    assert len(list_files(tmp_path)) == 2  # the other one may still be writing
    inbox.end()
    assert list_files(tmp_path) == [waiting]


def test_uploads_when_too_many_at_a_time_then_refused(inbox) -> None:
    assert [inbox.begin() for _ in range(module._MOST_ACTIVE + 1)][-2:] == [True, False]
    inbox.end()
    assert inbox.begin()


def test_uploads_that_nobody_takes_then_the_oldest_are_removed(
    inbox, tmp_path, monkeypatch
) -> None:
    sent = [arrive(inbox, tmp_path) for _ in range(module._MOST_PENDING + 2)]
    assert [path in inbox for path in sent] == [False, False] + [True] * module._MOST_PENDING
    assert len(list_files(tmp_path)) == module._MOST_PENDING
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module._KEPT_S + 1)
    assert sent[-1] not in inbox
    assert list_files(tmp_path) == []


def test_remove_when_the_path_is_elsewhere_then_nothing_happens(inbox, tmp_path) -> None:
    other = tmp_path / "other" / "file"
    other.parent.mkdir()
    other.write_text("kept")
    inbox.remove(other)
    inbox.remove("/")
    assert other.exists()
