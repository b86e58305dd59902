"""Malformed files of every kind that is read: a result or one sentence that names the file.

A few changes to each file are tried here; the slow tests try hundreds, each in bounded memory.
"""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from cellseg.datasets.image_records import read_image_record
from cellseg.engine import load_checkpoint_file
from cellseg.errors import CellsegError
from tests.robustness.malformed import READERS, SEEDS, Seed, damage_all, open_cache

FEW, MANY = 15, 150


def check(seed: Seed, folder: Path, count: int) -> None:
    """Read a file whole, then damaged in many ways: only a CellsegError may come, naming it."""
    kind, name = seed[0].split("/")
    for number, content in enumerate([seed[1], *damage_all(seed, count)]):
        path = folder / str(number) / name
        path.parent.mkdir()
        path.write_bytes(content)
        said = ""
        try:
            READERS[kind](path)
        except CellsegError as error:
            said = str(error)
        assert not said or number > 0, said
        assert not said or str(path.parent) in said or kind in ("geojson", "monusac"), said
        assert len(said) < 3000


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed[0])
def test_file_when_damaged_a_little_then_a_result_or_one_sentence(
    seed: Seed, tmp_path: Path
) -> None:
    check(seed, tmp_path, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed[0])
def test_file_when_damaged_in_many_ways_then_a_result_or_one_sentence(
    seed: Seed, tmp_path: Path
) -> None:
    check(seed, tmp_path, MANY)


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_cache_when_damaged_then_as_it_was_or_not_there(count: int, tmp_path: Path) -> None:
    files, cache = open_cache(tmp_path)
    record = read_image_record(files)
    path = cache.save({files.key: record})
    assert path is not None
    whole = path.read_bytes()
    for content in damage_all(("cache", whole), count):
        path.write_bytes(content)
        loaded = cache.load()
        for other in loaded.values():
            np.testing.assert_array_equal(other.instances.boxes_xyxy, record.instances.boxes_xyxy)
            assert other.instances.rles == record.instances.rles


def test_checkpoint_when_its_records_are_exchanged_then_no_code_is_run(tmp_path: Path) -> None:
    """A file that names a function in place of a tensor's own is refused before it is called."""
    path = tmp_path / "evil.pth"
    mark = tmp_path / "was_run"
    call = f"cposix\nsystem\n(S'touch {mark}'\ntR."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", call.encode())
        archive.writestr("evil/version", b"3\n")
    with pytest.raises(CellsegError, match=r"evil\.pth"):
        load_checkpoint_file(path)
    assert not mark.exists()
