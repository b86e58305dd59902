"""Steps are on disk before they are answered, and every one can be undone."""

import os
from pathlib import Path

import pytest

from cellseg.errors import CellDataError
from cellseg.web import edit_log
from cellseg.web.edit_log import EditLog, EditStep

SIZE = (100, 80)
SQUARE = [[10, 10, 4, 4, -4]]
OUTLINE = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edits.jsonl"


def add(log: EditLog, count: int = 1) -> EditStep:
    added = log.new_cells([SQUARE] * count, [0] * count, [0.5] * count)
    return log.apply(EditStep("draw", added=added))


def test_log_when_read_again_then_cells_steps_and_keys_are_the_same(path: Path) -> None:
    log = EditLog.open(path, SIZE)
    add(log, 3)
    log.apply(EditStep("delete", removed=(log.cells[2],)))
    log.apply(EditStep("review", regions=((), (OUTLINE,))))
    log.undo()
    again = EditLog.open(path, SIZE)
    assert again.cells == log.cells
    assert sorted(again.cells) == [1, 3]
    assert (again.revision, again.done, len(again.steps)) == (4, 2, 3)
    assert again.regions == ()
    assert again.redo() is not None
    assert again.regions == (OUTLINE,)
    assert again.new_cells([SQUARE], [0], [None])[0].key == 4


def test_log_when_undone_to_the_start_and_done_again_then_nothing_is_lost(path: Path) -> None:
    log = EditLog.open(path, SIZE)
    for _ in range(40):
        add(log)
    for _ in range(40):
        assert log.undo() is not None
    assert (log.undo(), log.cells) == (None, {})
    for _ in range(40):
        assert log.redo() is not None
    assert log.redo() is None
    assert len(log.cells) == 40


def test_log_when_something_is_done_after_undo_then_the_undone_is_gone(path: Path) -> None:
    log = EditLog.open(path, SIZE)
    add(log)
    log.undo()
    add(log)
    assert log.redo() is None
    again = EditLog.open(path, SIZE)
    assert sorted(again.cells) == sorted(log.cells) == [2]
    assert again.undo() is not None
    assert again.cells == {}


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_log_when_its_last_line_was_cut_off_then_the_others_hold(path: Path, cut: int) -> None:
    log = EditLog.open(path, SIZE)
    add(log)
    add(log)
    path.write_bytes(path.read_bytes()[:-cut])
    again = EditLog.open(path, SIZE)
    assert sorted(again.cells) == [1]
    add(again)
    assert sorted(EditLog.open(path, SIZE).cells) == [1, 2]


@pytest.mark.parametrize(
    "content",
    [b"{}\n", b"nonsense\n", b'{"version":1,"size":[100,80]}\n{"do":"x"}\n']
    + [b'{"version":1,"size":[100,80]}\n{"undo":1}\n', b"[1]\n", b'{"version":2,"size":[100,80]}\n']
    + [b'{"version":1,"size":[100,80]}\n{"do":"x","removed":[7],"added":[]}\n'],
)
def test_log_when_damaged_then_one_sentence_says_what_to_do(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CellDataError, match="move it away"):
        EditLog.open(path, SIZE)
    assert path.read_bytes() == content


@pytest.mark.parametrize("point", ["[101,0]", "[0,-1]", "[NaN,0]", '["9",0]', "[null,0]", "[9]"])
def test_log_when_a_region_does_not_fit_the_image_then_damaged(path: Path, point: str) -> None:
    EditLog.open(path, SIZE).apply(EditStep("review", regions=((), (OUTLINE,))))
    path.write_text(path.read_text().replace("[9.0,0.0]", point))
    with pytest.raises(CellDataError, match="is damaged"):
        EditLog.open(path, SIZE)


@pytest.mark.parametrize(
    "ring",
    [[98, 10, 4, 4, -4], [-1, 10, 4, 4, -4], [10, 10, 2**62, 4, -(2**62)], [10, 10, 0, 0, 0]],
)
def test_log_when_a_cell_does_not_fit_the_image_then_damaged(path: Path, ring: list[int]) -> None:
    add(EditLog.open(path, SIZE))
    path.write_text(path.read_text().replace("[10,10,4,4,-4]", str(ring)))
    with pytest.raises(CellDataError, match="is damaged"):
        EditLog.open(path, SIZE)


def test_log_when_of_an_image_of_another_size_then_it_is_not_used(path: Path) -> None:
    EditLog.open(path, SIZE)
    with pytest.raises(CellDataError, match="another size"):
        EditLog.open(path, (100, 81))


def test_log_when_empty_then_it_begins_again(path: Path) -> None:
    path.write_bytes(b"")
    add(EditLog.open(path, SIZE))
    assert len(EditLog.open(path, SIZE).cells) == 1


def test_log_when_the_disk_is_full_then_no_half_line_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EditLog.open(path, SIZE)
    add(log)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(OSError, match="No space left"):
            add(log)
    add(log)
    again = EditLog.open(path, SIZE)
    assert (again.cells, again.revision) == (log.cells, 2)


def test_log_when_it_would_become_too_long_then_said_and_as_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EditLog.open(path, SIZE)
    add(log)
    monkeypatch.setattr(edit_log, "MOST_BYTES", path.stat().st_size + 20)
    with pytest.raises(CellDataError, match="MiB of steps"):
        add(log)
    assert log.undo() is not None
    assert EditLog.open(path, SIZE).cells == {}
