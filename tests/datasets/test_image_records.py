"""Records of images, and the stamps that tell whether their files are still the same."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from cellseg.datasets.image_records import (
    FileStamp,
    ImageFiles,
    read_image_record,
    read_layers,
    refresh_stamp,
    stamp_file,
)
from cellseg.errors import CellDataError


def _age(path: Path, seconds: float) -> None:
    """Pretend that a file was written some time ago (its change time cannot be set back)."""
    then = time.time_ns() - int(seconds * 1e9)
    os.utime(path, ns=(then, then))


@pytest.fixture
def settled(monkeypatch):
    """Take any file, however new, as settled."""
    monkeypatch.setattr("cellseg.datasets.image_records._UNSETTLED_NS", 0)


def test_read_record_when_two_classes_and_ignore_then_all_in_it(tmp_path, draw_image, label_map):
    other = np.zeros_like(label_map)
    other[2:5, 2:4] = 7
    ignore = np.zeros((12, 16), np.uint8)
    ignore[0, :2] = ignore[11, 14:] = 1
    folder = draw_image(
        tmp_path, "a", {"class1.tif": label_map, "class4.tif": other, "ignore.tif": ignore}
    )
    labels = (folder / "class1.tif", folder / "class4.tif")
    files = ImageFiles(
        "a", 1, tmp_path, folder / "image.tif", labels, (0, 3), folder / "ignore.tif"
    )
    record = read_image_record(files)
    assert (record.height, record.width, record.is_8bit) == (12, 16, True)
    assert record.overlap_px == 4
    assert record.instances.layers.tolist() == [0, 0, 1, 2, 2]
    assert record.instances.label_ids.tolist() == [7, 70_000, 7, 1, 2]
    assert len(record.stamps) == 4
    assert files.layer_classes == (0, 3, -1)


def test_read_layers_when_shape_differs_then_error_names_both_sizes(tmp_path, draw_image):
    folder = draw_image(tmp_path, "a", {"class1.tif": np.zeros((16, 12))})
    with pytest.raises(CellDataError, match=r"class1.tif: is 16 x 12 .* 12 x 16"):
        read_layers([folder / "class1.tif"], [0], (12, 16))
    assert read_layers([], [], (12, 16)) == []


def test_refresh_stamp_when_untouched_then_same_stamp_without_reading(tmp_path, settled):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    stamp = FileStamp(**{**stamp_file(path).__dict__, "sha256": "not looked at"})
    assert refresh_stamp(stamp, path) is stamp


def test_refresh_stamp_when_only_times_moved_then_new_stamp_by_content(tmp_path, settled):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    stamp = stamp_file(path)
    _age(path, 100)
    moved = refresh_stamp(stamp, path)
    assert moved is not None
    assert moved.sha256 == stamp.sha256
    assert moved.mtime_ns < stamp.mtime_ns


def test_refresh_stamp_when_content_changed_then_none_even_with_old_mtime(tmp_path, settled):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    stamp = stamp_file(path)
    time.sleep(0.02)
    path.write_bytes(b"xyz")
    os.utime(path, ns=(stamp.mtime_ns, stamp.mtime_ns))
    assert refresh_stamp(stamp, path) is None
    path.write_bytes(b"abcd")
    assert refresh_stamp(stamp, path) is None
    path.unlink()
    assert refresh_stamp(stamp, path) is None


def test_stamp_file_when_just_written_then_times_are_not_trusted(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    stamp = stamp_file(path)
    assert (stamp.mtime_ns, stamp.ctime_ns) == (0, 0)
    assert refresh_stamp(stamp, path) is not None
    path.write_bytes(b"xyz")
    assert refresh_stamp(stamp, path) is None


def test_stamp_file_when_absent_then_error_names_file(tmp_path):
    with pytest.raises(CellDataError, match="absent"):
        stamp_file(tmp_path / "absent")
