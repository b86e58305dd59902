"""Pages are kept apart, and nothing of them stays."""

from pathlib import Path

import pytest

from cellseg.web.sessions import PageClosedError, SessionStore, Upload


@pytest.fixture
def store(tmp_path: Path) -> SessionStore:
    """Return a store for three pages."""
    (tmp_path / "pages").mkdir()
    return SessionStore(tmp_path / "pages", most=3)


def _send(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "slide.png"
    path.write_bytes(content)
    return path


def test_store_when_a_page_comes_back_then_it_finds_its_own_session(store):
    first, second = store.open("a"), store.open("b")
    assert store.open("a") is first
    assert first.folder != second.folder
    assert first.token != second.token
    assert store.find(first.token) is first
    assert store.find("") is None
    assert store.find("é") is None
    assert store.find("a") is None  # the browser's own key opens nothing


def test_session_when_a_file_is_taken_then_it_outlives_the_original(store, tmp_path):
    path = _send(tmp_path, b"one")
    upload = store.open("a").take(path, ".png")
    path.unlink()
    assert (upload.path.read_bytes(), upload.name) == (b"one", "slide.png")
    second = store.open("a").take(_send(tmp_path, b"two"), ".png")
    assert list(store.open("a").folder.iterdir()) == [second.path]


def test_store_when_a_page_closes_then_its_files_and_token_go(store, tmp_path):
    session, other = store.open("a"), store.open("b")
    session.take(_send(tmp_path, b"one"), ".png")
    store.close("a")
    store.close("a")
    assert session.closed
    assert not session.folder.exists()
    assert store.find(session.token) is None
    assert other.folder.exists()
    assert not other.closed
    assert store.open("a") is not session


def test_store_when_there_are_too_many_pages_then_the_longest_resting_one_goes(store):
    a, b, c = (store.open(key) for key in "abc")
    store.open("a")
    store.open("d")
    assert (a.closed, b.closed, c.closed) == (False, True, False)
    assert len(store) == 3
    assert store.get("c") is c
    with pytest.raises(PageClosedError, match="More than 3 pages .* reload the page"):
        store.get("b")
    assert store.open("b") is store.get("b") is not b  # in place of a, which rested longest
    store.close("b")
    store.close("a")  # its reader leaves
    assert store.get("b") is store.get("a") is None
    assert store.get("never seen") is None
    store.close_all()
    assert len(store) == 0
    assert not any(session.folder.exists() for session in (a, b, c))


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("slide 1.png", "slide_1"),
        ("../../etc/passwd", "passwd"),
        ("a.b.tif", "a.b"),
        ('"><script>.png', "script"),
        ("....png", "image"),
        ("größe.tif", "größe"),
        ("x" * 300 + ".png", "x" * 80),
    ],
)
def test_upload_stem_then_it_is_fit_for_a_file_name(tmp_path, name, stem):
    assert Upload(tmp_path, name).stem == stem
