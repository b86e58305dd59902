"""Loading many images: what is read again, and what is not."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import tifffile

from cellseg.datasets import record_loading
from cellseg.datasets.annotation_cache import AnnotationCache
from cellseg.datasets.image_records import ImageRecord
from cellseg.datasets.layout import FileNames, find_images
from cellseg.datasets.record_loading import load_records
from cellseg.errors import CellDataError

NAMES = FileNames("image.tif", (("class1.tif",), ("class2.tif",)), "ignore.tif")


@pytest.fixture
def root(tmp_path, draw_image, label_map):
    """Return a data root of six images, each with one class file."""
    for index in range(6):
        draw_image(tmp_path / "data", f"image{index}", {"class1.tif": label_map})
    return tmp_path / "data"


@pytest.fixture
def reads(monkeypatch):
    """Return a list that grows by the name of each image that is really read."""
    names = []
    read = record_loading.read_image_record

    def spy(files, max_pixels):
        names.append(files.name)
        return read(files, max_pixels)

    monkeypatch.setattr(record_loading, "read_image_record", spy)
    return names


def _load(root, include=None, **options):
    images, _ = find_images([root], NAMES, include)
    return dict(zip([i.name for i in images], load_records(images, **options), strict=True))


def test_load_records_when_second_start_then_nothing_is_read(root, reads):
    first = _load(root)
    assert sorted(reads) == [f"image{i}" for i in range(6)]
    reads.clear()
    second = _load(root)
    assert reads == []
    for name, record in first.items():
        assert second[name].instances.rles == record.instances.rles


def test_load_records_when_label_changes_then_only_that_image_is_read(root, reads, label_map):
    _load(root)
    reads.clear()
    changed = label_map.copy()
    changed[changed == 7] = 0
    tifffile.imwrite(root / "image3" / "class1.tif", changed)
    assert len(_load(root)["image3"].instances.areas) == 1
    assert reads == ["image3"]


def test_load_records_when_label_is_touched_then_not_read_and_new_time_is_kept(root, reads):
    _load(root)
    reads.clear()
    then = time.time_ns() - 10**10
    os.utime(root / "image3" / "class1.tif", ns=(then, then))
    _load(root)
    assert reads == []


def test_load_records_when_label_added_or_removed_then_noticed(root, reads, label_map):
    _load(root)
    reads.clear()
    tifffile.imwrite(root / "image1" / "class2.tif", label_map)
    (root / "image2" / "class1.tif").unlink()
    loaded = _load(root)
    assert sorted(reads) == ["image1", "image2"]
    assert len(loaded["image1"].instances.areas) == 4
    assert len(loaded["image2"].instances.areas) == 0


def test_load_records_when_image_added_or_removed_then_cache_follows(root, reads, draw_image):
    _load(root)
    reads.clear()
    draw_image(root, "image9")
    for path in (root / "image0").iterdir():
        path.unlink()
    (root / "image0").rmdir()
    assert sorted(_load(root)) == ["image1", "image2", "image3", "image4", "image5", "image9"]
    assert reads == ["image9"]
    assert len(AnnotationCache(root).load()) == 6


def test_load_records_when_a_part_is_included_then_the_rest_stays_cached(root, reads, label_map):
    _load(root)
    reads.clear()
    tifffile.imwrite(root / "image1" / "class1.tif", label_map > 0)
    _load(root, include=["image1"])
    _load(root)
    assert reads == ["image1"]


def test_load_records_when_file_is_bad_then_its_error_each_time_and_the_rest_cached(root, reads):
    (root / "image2" / "class1.tif").write_bytes(b"II*\0")
    for _ in range(2):
        loaded = _load(root)
        assert isinstance(loaded["image2"], CellDataError)
        assert "image2/class1.tif" in str(loaded["image2"])
        assert sum(isinstance(record, ImageRecord) for record in loaded.values()) == 5
    assert reads.count("image2") == 2
    assert reads.count("image1") == 1


def test_load_records_when_cache_is_damaged_then_rebuilt(root, reads):
    _load(root)
    path = root / ".cellseg_cache" / "annotations.npz"
    path.write_bytes(path.read_bytes()[:500])
    reads.clear()
    _load(root)
    assert len(reads) == 6
    assert len(AnnotationCache(root).load()) == 6


def test_load_records_when_cache_is_off_then_nothing_is_written(root, reads):
    _load(root, cache=False)
    _load(root, cache=False)
    assert len(reads) == 12
    assert not (root / ".cellseg_cache").exists()


def test_load_records_when_cache_folder_given_then_used(root, reads, tmp_path):
    for _ in range(2):
        _load(root, cache=str(tmp_path / "mine"))
    assert len(reads) == 6
    assert not (root / ".cellseg_cache").exists()


def _load_slowly(root, num_reads):
    """Load in a process of its own, counting the images read; slow enough to be interrupted."""
    read = record_loading.read_image_record

    def slow(files, max_pixels):
        time.sleep(0.1)
        with num_reads.get_lock():
            num_reads.value += 1
        return read(files, max_pixels)

    record_loading.read_image_record = slow
    _load(root, num_workers=1)


def test_load_records_when_two_processes_start_then_each_image_is_read_once(root):
    context = multiprocessing.get_context("fork")
    num_reads = context.Value("i", 0)
    workers = [context.Process(target=_load_slowly, args=(root, num_reads)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert num_reads.value == 6
    assert len(AnnotationCache(root).load()) == 6


def test_load_records_when_builder_is_killed_then_next_start_is_right(root, reads):
    context = multiprocessing.get_context("fork")
    num_reads = context.Value("i", 0)
    builder = context.Process(target=_load_slowly, args=(root, num_reads))
    builder.start()
    while num_reads.value < 2:
        time.sleep(0.01)
    os.kill(builder.pid, signal.SIGKILL)
    builder.join()
    loaded = _load(root)
    assert len(reads) == 6
    np.testing.assert_array_equal(loaded["image5"].instances.areas, [13, 10])
    assert len(AnnotationCache(root).load()) == 6
