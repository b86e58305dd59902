"""The cache: whole or not there, whoever wrote it and whatever happened to it."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from cellseg.datasets import annotation_cache
from cellseg.datasets.annotation_cache import AnnotationCache
from cellseg.datasets.image_records import ImageFiles, read_image_record


@pytest.fixture
def records(tmp_path, draw_image, label_map):
    """Return the records of an image with cells and of one without."""
    root = tmp_path / "data"
    full = draw_image(root, "full", {"class1.tif": label_map, "ignore.tif": label_map > 0})
    empty = draw_image(root, "empty", shape=(5, 9))
    files = [
        ImageFiles("empty", 1, root, empty / "image.tif"),
        ImageFiles(
            "full", 2, root, full / "image.tif", (full / "class1.tif",), (0,), full / "ignore.tif"
        ),
    ]
    return {item.key: read_image_record(item) for item in files}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


def _assert_equal(loaded, expected):
    assert loaded.keys() == expected.keys()
    for key, record in expected.items():
        other = loaded[key]
        assert other.stamps == record.stamps
        assert (other.height, other.width) == (record.height, record.width)
        assert (other.is_8bit, other.overlap_px) == (record.is_8bit, record.overlap_px)
        assert other.instances.rles == record.instances.rles
        for name in ("boxes_xyxy", "areas", "layers", "label_ids"):
            mine, theirs = getattr(other.instances, name), getattr(record.instances, name)
            np.testing.assert_array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype


def test_load_when_saved_then_identical(records, root):
    path = AnnotationCache(root).save(records)
    assert path == root / ".cellseg_cache" / "annotations.npz"
    _assert_equal(AnnotationCache(root).load(), records)


def test_load_when_nothing_saved_then_empty(root):
    assert AnnotationCache(root).load() == {}


def test_load_when_only_empty_images_then_identical(records, root):
    only_empty = {key: r for key, r in records.items() if not len(r.instances.areas)}
    AnnotationCache(root).save(only_empty)
    _assert_equal(AnnotationCache(root).load(), only_empty)


def test_save_when_data_is_marked_read_only_then_in_the_users_folder(records, root, monkeypatch):
    root.chmod(0o555)  # a test may run as root, whom this does not stop
    user = root.parent / "user"
    monkeypatch.setenv("XDG_CACHE_HOME", str(user))
    try:
        path = AnnotationCache(root).save(records)
        with AnnotationCache(root).lock():
            pass
        assert path.parent == user / "cellseg"
        assert not (root / ".cellseg_cache").exists()
        _assert_equal(AnnotationCache(root).load(), records)
    finally:
        root.chmod(0o755)


def test_save_when_writing_beside_the_data_fails_then_in_the_users_folder(
    records, root, monkeypatch
):
    (root / ".cellseg_cache").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(root.parent / "user"))
    assert AnnotationCache(root).save(records).parent == root.parent / "user" / "cellseg"


def test_save_when_nowhere_to_write_then_none_and_no_error(records, root):
    blocked = root.parent / "blocked"
    blocked.write_text("")
    cache = AnnotationCache(root, blocked / "cache")
    assert cache.save(records) is None
    with cache.lock():
        assert cache.load() == {}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_load_when_cut_short_then_empty(records, root, share):
    path = AnnotationCache(root).save(records)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert AnnotationCache(root).load() == {}


def test_load_when_any_part_is_damaged_then_empty_or_identical(records, root):
    path = AnnotationCache(root).save(records)
    whole = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        loaded = AnnotationCache(root).load()
        if loaded:
            _assert_equal(loaded, records)


def test_load_when_file_holds_pickles_then_they_are_not_run(root):
    path = root / ".cellseg_cache" / "annotations.npz"
    path.parent.mkdir(parents=True)
    witness = root / "witness"
    np.savez(path, images=np.array([_Trap(witness)], dtype=object))
    assert AnnotationCache(root).load() == {}
    assert not witness.exists()


@pytest.mark.parametrize("name", ["annotations.lock", "annotations.npz"])
def test_save_when_a_file_of_the_cache_is_a_link_then_its_target_is_left_alone(
    records, root, monkeypatch, name
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(root.parent / "user"))
    target = root.parent / "precious"
    target.write_text("text")
    folder = root / ".cellseg_cache"
    folder.mkdir()
    (folder / name).symlink_to(target)
    cache = AnnotationCache(root)
    with cache.lock():
        assert cache.save(records) == folder / "annotations.npz"
    assert target.read_text() == "text"
    _assert_equal(AnnotationCache(root).load(), records)


def test_lock_when_it_holds_text_then_that_stays(root):
    path = root / ".cellseg_cache" / "annotations.lock"
    path.parent.mkdir(parents=True)
    path.write_text("text")
    with AnnotationCache(root).lock():
        assert path.read_text() == "text"


class _Trap:
    """Write a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_load_when_version_is_another_then_empty(records, root, monkeypatch):
    AnnotationCache(root).save(records)
    monkeypatch.setattr(annotation_cache, "_VERSION", 99)
    assert AnnotationCache(root).load() == {}


def _hold_lock(root: Path, ready) -> None:
    with AnnotationCache(root).lock():
        ready.set()
        time.sleep(60)


def test_lock_when_its_holder_is_killed_then_free(root):
    root.mkdir()
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=_hold_lock, args=(root, ready))
    holder.start()
    try:
        assert ready.wait(20)
        start = time.monotonic()
        with AnnotationCache(root).lock(timeout_s=0.3):
            waited = time.monotonic() - start
        assert waited >= 0.3
    finally:
        holder.kill()
        holder.join()
    start = time.monotonic()
    with AnnotationCache(root).lock(timeout_s=30):
        assert time.monotonic() - start < 10


def _rewrite(path: Path, packed: bool = False, **changed) -> None:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, change in changed.items():
        arrays[name] = change(arrays[name])
    (np.savez_compressed if packed else np.savez)(path, **arrays)


def _edit(old: bytes, new: bytes):
    return lambda text: np.frombuffer(text.tobytes().replace(old, new), dtype=np.uint8)


@pytest.mark.parametrize(
    "changed",
    [
        {"boxes_xyxy": lambda boxes: boxes + 1},
        {"boxes_xyxy": lambda boxes: boxes.astype(float) * np.nan},
        {"boxes_xyxy": lambda boxes: boxes[:, :3]},
        {"areas": lambda areas: areas * 0},
        {"areas": lambda areas: areas[:, None]},
        {"layers": lambda layers: layers + 9},
        {"layers": lambda layers: layers - 9},
        {"label_ids": lambda ids: -ids},
        {"label_ids": lambda ids: ids.astype(str)},
        {"rle_text": lambda text: text[::-1]},
        {"rle_lengths": lambda lengths: lengths[::-1] * 0},
        {"images": _edit(b'"overlap_px": 0', b'"overlap_px": 0.5')},
        {"images": _edit(b'"is_8bit": true', b'"is_8bit": "yes"')},
        {"images": _edit(b'"size": [', b'"size": [10000000, ')},
        {"images": _edit(b'"num_instances": 0', b'"num_instances": -1')},
    ],
)
def test_load_when_it_is_crafted_then_rebuilt_and_never_believed(records, root, changed):
    path = AnnotationCache(root).save(records)
    _rewrite(path)
    _assert_equal(AnnotationCache(root).load(), records)
    _rewrite(path, **changed)
    assert AnnotationCache(root).load() == {}


def test_load_when_it_is_packed_then_not_unpacked(records, root):
    path = AnnotationCache(root).save(records)
    _rewrite(path, packed=True, label_ids=lambda ids: np.zeros(2**20, dtype=np.int64))
    assert AnnotationCache(root).load() == {}
