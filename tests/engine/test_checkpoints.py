"""The checkpoint to go on from is found after kills, moves and damage."""

import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from cellseg.engine import CheckpointError, configure_resume, find_resumable_checkpoint
from cellseg.engine.checkpoints import is_whole_checkpoint


def write_run(folder: Path, *names: str, last: str | None = None, age_s: float = 0) -> Path:
    """Write whole checkpoints, in this order of time, then what last_checkpoint says."""
    folder.mkdir(exist_ok=True, parents=True)
    for place, name in enumerate(names):
        torch.save({"w": torch.arange(99)}, folder / name)
        set_time(folder / name, 1000 + place - age_s)
    if last is not None:
        (folder / "last_checkpoint").write_text(last)
        set_time(folder / "last_checkpoint", 1000 + len(names))
    return folder


def set_time(path: Path, seconds: float) -> None:
    os.utime(path, (seconds, seconds))


def cut(path: Path, fraction: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])


def test_find_when_record_is_right_then_it_is_taken(tmp_path: Path) -> None:
    run = write_run(tmp_path, "epoch_1.pth", "epoch_2.pth", last=str(tmp_path / "epoch_2.pth"))
    assert find_resumable_checkpoint(run) == run / "epoch_2.pth"


def test_find_when_work_dir_was_moved_then_its_own_file_is_taken(tmp_path: Path) -> None:
    old = write_run(tmp_path / "old", "epoch_2.pth", last="epoch_2.pth")
    new = write_run(tmp_path / "new", "epoch_2.pth", last=str(old / "epoch_2.pth"))
    assert find_resumable_checkpoint(new) == new / "epoch_2.pth"
    (old / "epoch_2.pth").unlink()
    assert find_resumable_checkpoint(new) == new / "epoch_2.pth"


def test_find_when_checkpoints_lie_elsewhere_then_the_recorded_path_is_taken(
    tmp_path: Path,
) -> None:
    store = write_run(tmp_path / "store", "epoch_2.pth")
    run = write_run(tmp_path / "run", last=str(store / "epoch_2.pth"))
    assert find_resumable_checkpoint(run) == store / "epoch_2.pth"
    (run / "last_checkpoint").unlink()
    assert find_resumable_checkpoint(run) is None
    assert find_resumable_checkpoint(run, store) == store / "epoch_2.pth"


@pytest.mark.parametrize("fraction", [0, 0.5, 0.99, None])
def test_find_when_recorded_file_is_not_whole_then_the_one_before_and_a_warning(
    fraction: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    monkeypatch.setattr("cellseg.engine.checkpoints._warn", messages.append)
    names = ["epoch_1.pth", "epoch_9.pth", "epoch_10.pth", "best_a_epoch_9.pth"]
    run = write_run(tmp_path, *names, last=str(tmp_path / "epoch_10.pth"))
    if fraction is None:
        (run / "epoch_10.pth").unlink()
    else:
        cut(run / "epoch_10.pth", fraction)
    assert find_resumable_checkpoint(run) == run / "epoch_9.pth"
    assert len(messages) == 1
    assert f"names no whole checkpoint; going on from {run / 'epoch_9.pth'}" in messages[0]


@pytest.mark.parametrize("record", ["", "/", "nothing like a path \x00 at all", "epoch_7.pth\n"])
def test_find_when_record_is_garbage_then_newest_whole(record: str, tmp_path: Path) -> None:
    run = write_run(tmp_path, "epoch_1.pth", "epoch_2.pth", last=record)
    assert find_resumable_checkpoint(run) == run / "epoch_2.pth"


def test_find_when_killed_before_the_record_was_written_then_the_newer_one(tmp_path: Path) -> None:
    run = write_run(tmp_path, "epoch_1.pth", last=str(tmp_path / "epoch_1.pth"))
    write_run(tmp_path, "epoch_2.pth", age_s=-9)
    assert find_resumable_checkpoint(run) == run / "epoch_2.pth"
    cut(run / "epoch_2.pth", 0.5)
    assert find_resumable_checkpoint(run) == run / "epoch_1.pth"


def test_find_when_training_went_back_then_the_old_later_epochs_do_not_count(
    tmp_path: Path,
) -> None:
    run = write_run(tmp_path, "epoch_10.pth", "epoch_5.pth", last=str(tmp_path / "epoch_5.pth"))
    assert find_resumable_checkpoint(run) == run / "epoch_5.pth"


def test_find_when_iterations_are_saved_then_they_count_as_numbers(tmp_path: Path) -> None:
    run = write_run(tmp_path, "iter_900.pth", "iter_1000.pth", "iter_1000-0a1b2c3d.pth")
    assert find_resumable_checkpoint(run) == run / "iter_1000.pth"


@pytest.mark.parametrize("names", [(), ("best_a_epoch_2.pth",), ("weights.pth",)])
def test_find_when_no_training_state_then_none(names: tuple[str, ...], tmp_path: Path) -> None:
    assert find_resumable_checkpoint(write_run(tmp_path / "run", *names)) is None
    assert find_resumable_checkpoint(tmp_path / "absent") is None


def test_whole_when_one_byte_is_flipped_then_false(tmp_path: Path) -> None:
    path = write_run(tmp_path, "epoch_1.pth") / "epoch_1.pth"
    assert is_whole_checkpoint(path)
    content = bytearray(path.read_bytes())
    content[content.index(bytes([7, 0, 0, 0, 0, 0, 0, 0, 8]))] ^= 1  # inside the tensor
    path.write_bytes(content)
    assert not is_whole_checkpoint(path)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(8, 1), (10, 99), (28, 255), (28, 65535)],
    ids=[
        "encrypted",
        "packed in an unknown way",
        "names too long",
        "names beyond the file",
    ],
)
def test_whole_when_the_directory_of_the_archive_is_damaged_then_not(
    tmp_path: Path, offset: int, value: int
) -> None:
    path = tmp_path / "epoch_1.pth"
    torch.save({"w": torch.arange(99)}, path)
    content = bytearray(path.read_bytes())
    place = -1
    while (place := content.find(b"PK\1\2", place + 1)) >= 0:
        content[place + offset : place + offset + 2] = value.to_bytes(2, "little")
    path.write_bytes(content)
    assert not is_whole_checkpoint(path)


def test_configure_when_nothing_to_resume_then_load_from_stays(tmp_path: Path) -> None:
    cfg = Config(dict(work_dir=str(tmp_path), load_from="coco.pth", resume=False))
    assert configure_resume(cfg, "auto") is None
    assert (cfg.resume, cfg.load_from) == (False, "coco.pth")
    assert configure_resume(cfg, None) is None


def test_configure_when_a_checkpoint_is_found_then_it_replaces_load_from(tmp_path: Path) -> None:
    write_run(tmp_path, "epoch_1.pth")
    cfg = Config(dict(work_dir=str(tmp_path), load_from="coco.pth", resume=False))
    assert configure_resume(cfg, "auto") == tmp_path / "epoch_1.pth"
    assert (cfg.resume, cfg.load_from) == (True, str(tmp_path / "epoch_1.pth"))


def test_configure_when_named_file_is_missing_then_error(tmp_path: Path) -> None:
    cfg = Config(dict(work_dir=str(tmp_path)))
    with pytest.raises(CheckpointError, match="check --resume"):
        configure_resume(cfg, str(tmp_path / "epoch_3.pth"))
