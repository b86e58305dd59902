"""Folders of converted images: whole or not there."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellseg.errors import CellDataError
from cellseg.formats.conversion import image_folder
from cellseg.formats.conversion.annotations import Loss
from cellseg.formats.conversion.image_folder import (
    ImageLog,
    read_log,
    remove_image_folder,
    write_image_folder,
    write_tiff,
)
from cellseg.formats.conversion.names import IGNORED

LOG = ImageLog("a.png", {"x": 2}, 1, (Loss("cell", "a", "1", "x", "is too small", 3),), "print")
PIXELS = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
LAYERS = {0: np.eye(4, 5, dtype=np.uint16), IGNORED: np.ones((4, 5), np.uint32)}


def test_folder_when_written_then_files_and_log_are_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    write_image_folder(folder, PIXELS, LAYERS, LOG)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["class1.tif", "conversion.json", "ignore.tif", "image.tif"]
    np.testing.assert_array_equal(tifffile.imread(folder / "image.tif"), PIXELS)
    np.testing.assert_array_equal(tifffile.imread(folder / "class1.tif"), LAYERS[0])
    assert tifffile.imread(folder / "ignore.tif").dtype == np.uint32
    assert read_log(folder) == LOG
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_folder_when_written_again_then_nothing_of_before_is_left(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "a", PIXELS, LAYERS, LOG)
    (tmp_path / ".a.part").mkdir()  # left by a run that was stopped
    write_image_folder(tmp_path / "a", PIXELS[..., 0], {}, LOG)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["conversion.json", "image.tif"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_folder_when_writing_fails_then_the_old_one_stays(tmp_path: Path, monkeypatch) -> None:
    write_image_folder(tmp_path / "a", PIXELS, LAYERS, LOG)

    def fail(*arguments) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(image_folder, "write_atomically", fail)
    with pytest.raises(OSError, match="No space"):
        write_image_folder(tmp_path / "a", PIXELS, {}, LOG)
    assert read_log(tmp_path / "a") == LOG
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


LOG_TEXT = json.dumps(asdict(LOG) | {"losses": [loss._asdict() for loss in LOG.losses]})


@pytest.mark.parametrize(
    "text",
    [None, "", "[]", '{"origin": "a"}', '{"losses": [{"x": 1}]}']
    + [
        LOG_TEXT.replace(old, new) for old, new in (('"cell"', '"x"'), ("2}", '"2"}'), ('"a"', "5"))
    ],
)
def test_log_when_the_folder_is_of_someone_else_then_refused(
    tmp_path: Path, text: str | None
) -> None:
    (tmp_path / "a").mkdir()
    if text is not None:
        (tmp_path / "a" / "conversion.json").write_text(text)
    with pytest.raises(CellDataError, match="not from a conversion"):
        read_log(tmp_path / "a")
    assert read_log(tmp_path / "none") is None


def test_remove_when_there_is_none_then_does_nothing_and_else_all_of_it(tmp_path: Path) -> None:
    remove_image_folder(tmp_path / "a")
    write_image_folder(tmp_path / "a", PIXELS, LAYERS, LOG)
    remove_image_folder(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.float32])
def test_tiff_when_written_then_values_are_the_same(tmp_path: Path, dtype: type) -> None:
    pixels = np.random.default_rng(0).integers(0, 250, (7, 9)).astype(dtype)
    write_tiff(tmp_path / "deep" / "x.tif", pixels[:, ::2])
    read = tifffile.imread(tmp_path / "deep" / "x.tif")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, pixels[:, ::2])
