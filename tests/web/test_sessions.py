"""Sessions are kept apart, come back after a kill, and make room only without corrections."""

import os
from pathlib import Path

import pytest

from cellseg.web import sessions as module
from cellseg.web.edit_log import EditLog, EditStep
from cellseg.web.page_images import LOG_NAME, PageImage
from cellseg.web.sessions import FullError, SessionStore, make_token

RINGS = [[1, 1, 2, 2, -2]]


@pytest.fixture
def store(tmp_path: Path) -> SessionStore:
    """Return a store for three sessions."""
    return SessionStore(tmp_path / "uploads", most=3)


def send(
    store: SessionStore, token: str, content: bytes = b"one", name: str = "a.png"
) -> PageImage:
    session = store.open(token)
    folder = session.begin()
    path = folder / "image.png"
    path.write_bytes(content)
    return session.add(folder, path, name)


def correct(image: PageImage) -> None:
    log = EditLog.open(image.folder / LOG_NAME, (9, 9))
    log.apply(EditStep("predict", added=log.new_cells([RINGS], [0], [0.5])))
    assert not image.has_corrections()
    log.apply(EditStep("delete", removed=(log.cells[1],)))
    assert image.has_corrections()


def test_store_when_a_person_comes_back_then_they_find_their_own_images(
    store: SessionStore, tmp_path: Path
) -> None:
    one, two = make_token(), make_token()
    mine, theirs = send(store, one), send(store, two, b"two")
    assert store.find_image(one, mine.key) is mine
    assert store.find_image(one, theirs.key) is None
    assert store.find_image(None, mine.key) is None
    assert store.find_image("é", mine.key) is None
    again = SessionStore(tmp_path / "uploads", most=3)
    found = again.find_image(one, mine.key)
    assert found is not None
    assert (found.name, found.path.read_bytes()) == ("a.png", b"one")
    assert again.find_image(one, theirs.key) is None
    assert one not in os.listdir(tmp_path / "uploads")  # noqa: PTH208  (the token is not told)


def test_store_when_images_were_given_then_everybody_sees_them(tmp_path: Path) -> None:
    given = PageImage("g0", "slide", tmp_path / "slide.tif", tmp_path / "c", is_given=True)
    store = SessionStore(tmp_path / "uploads", [given])
    assert store.find_image(None, "g0") is given
    mine = send(store, "t" * 30)
    assert store.list_images("t" * 30) == [given, mine]
    assert store.list_images("u" * 30) == [given]


def test_store_at_start_then_what_had_not_arrived_is_removed(
    store: SessionStore, tmp_path: Path
) -> None:
    token = make_token()
    kept = send(store, token)
    half = store.open(token).begin()
    (half / "arriving").write_bytes(b"half")
    other = store.open(make_token()).begin()
    (other / "arriving").write_bytes(b"half")
    again = SessionStore(tmp_path / "uploads")
    assert len(again) == 1
    assert [path.name for path in (tmp_path / "uploads").glob("*/*")] == [kept.key]


def test_store_when_there_are_too_many_then_the_longest_resting_without_corrections_goes(
    store: SessionStore,
) -> None:
    images = {token: send(store, token * 30) for token in "abc"}
    correct(images["a"])
    store.get("b" * 30)
    store.open("d" * 30)
    assert len(store) == 3
    assert store.get("c" * 30) is None
    assert not images["c"].folder.exists()
    assert images["a"].folder.exists()
    assert images["b"].folder.exists()
    correct(images["b"])
    store.open("e" * 30)  # in place of d, which has nothing
    correct(send(store, "e" * 30))
    with pytest.raises(FullError, match="3 people"):
        store.open("f" * 30)
    assert store.get("a" * 30) is not None


def test_session_when_an_image_is_removed_then_nothing_of_it_stays(store: SessionStore) -> None:
    token = make_token()
    image = send(store, token)
    correct(image)
    session = store.open(token)
    session.remove(image.key)
    assert list(session.folder.iterdir()) == []
    assert store.find_image(token, image.key) is None
    session.close()
    assert not session.folder.exists()


def test_session_when_it_has_too_many_images_then_words_say_so(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_IMAGES", 2)
    for _ in range(2):
        send(store, "a" * 30)
    with pytest.raises(FullError, match="remove one first"):
        store.open("a" * 30).begin()


@pytest.mark.parametrize("facts", ["", "[]", "{}", '{"file": "../../secret", "name": "a"}'])
def test_session_when_what_is_kept_is_damaged_then_it_leads_nowhere(
    store: SessionStore, tmp_path: Path, facts: str
) -> None:
    token = make_token()
    image = send(store, token)
    (tmp_path / "secret").write_text("secret")
    (image.folder / "image.json").write_text(facts)
    assert SessionStore(tmp_path / "uploads").list_images(token) == []
