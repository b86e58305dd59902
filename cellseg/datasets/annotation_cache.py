"""Keep image records between starts in one npz file a data root, without pickle.

The file is only ever renamed into place, so that a killed or a second writer leaves it right; one
that is damaged, of another version or of another layout is rebuilt. A lock makes a process that
starts while another is reading the images wait for the result instead of doing the same work.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mmengine.logging import print_log

from cellseg.datasets.image_records import FileStamp, ImageRecord
from cellseg.datasets.layer_instances import LayerInstances
from cellseg.file_locks import open_lock_file, try_lock
from cellseg.fileio import read_arrays, write_atomically
from cellseg.structures.rle import measure_rles

CACHE_FOLDER = ".cellseg_cache"
_VERSION = 3
_LOCK_POLL_S = 0.05
_NUMBERS = ("boxes_xyxy", "areas", "layers", "label_ids")


class AnnotationCache:
    """Records of the images below one data root.

    Args:
        root: Data root.
        folder: Where to keep the file; by default `.cellseg_cache` in the data root or, where that
            cannot be written, $XDG_CACHE_HOME/cellseg (~/.cache/cellseg).
    """

    def __init__(self, root: Path, folder: Path | None = None) -> None:
        """Decide where the cache may lie; nothing is read or written yet."""
        absolute = root.resolve()
        name = f"{absolute.name}-{hashlib.sha256(os.fsencode(absolute)).hexdigest()[:16]}.npz"
        if folder is not None:
            self._sources = self._targets = [folder / name]
        else:
            beside_data = absolute / CACHE_FOLDER / "annotations.npz"
            self._sources = [beside_data, *(folder / name for folder in _user_folders())]
            self._targets = self._sources if _is_writable(absolute) else self._sources[1:]

    def load(self) -> dict[str, ImageRecord]:
        """Read the records of the newest file that is whole; an empty dict where there is none.

        Returns:
            Records by `ImageFiles.key`. Whether their files are unchanged is for the caller to see.
        """
        changed = {path: _read_change_time(path) for path in self._sources}
        for path in sorted(self._sources, key=lambda path: changed[path], reverse=True):
            if not changed[path]:
                continue
            try:
                return _read(path)
            except Exception as error:
                message = f"The annotation cache {path} is damaged ({error}); it will be rebuilt."
                print_log(message, logger="current", level=logging.WARNING)
        return {}

    def save(self, records: Mapping[str, ImageRecord]) -> Path | None:
        """Write the records to the first place that can be written.

        Returns:
            The file, or None, after a warning, where no place can be written.
        """
        error: OSError | None = None
        for path in self._targets:
            try:
                return write_atomically(path, lambda file: _write(file, records))
            except OSError as failure:
                error = failure
        message = f"Annotations are not cached: {error}. The next start reads all images again."
        print_log(message, logger="current", level=logging.WARNING)
        return None

    @contextmanager
    def lock(self, timeout_s: float = 600.0) -> Iterator[None]:
        """Let one process at a time read the images and write the cache.

        A killed process frees the lock. After the timeout, or where files cannot be locked, work
        goes on without: the cache stays right, only time is lost.

        Args:
            timeout_s: Longest wait in seconds.
        """
        file = _open_lock(self._targets)
        try:
            deadline = time.monotonic() + timeout_s
            while file is not None and not _try_lock(file) and time.monotonic() < deadline:
                time.sleep(_LOCK_POLL_S)
            yield
        finally:
            if file is not None:
                file.close()


def _user_folders() -> list[Path]:
    """Return the cache folder of the user; none where the system knows no home of theirs."""
    try:
        return [Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cellseg"]
    except RuntimeError:
        return []


def _read_change_time(path: Path) -> int:
    """Return when a file was last changed, in ns; 0 where it is absent or may not be read."""
    try:
        return path.stat().st_mtime_ns if path.is_file() else 0
    except OSError:
        return 0


def _is_writable(folder: Path) -> bool:
    """Return whether a folder may be written to; its mode binds root too, whom it cannot stop."""
    try:
        has_write_bit = bool(folder.stat().st_mode & 0o222)
    except OSError:
        return False
    return has_write_bit and os.access(folder, os.W_OK)


def _open_lock(paths: list[Path]) -> BinaryIO | None:
    """Open the lock file beside the first cache path that can be written, or return None."""
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return open_lock_file(path.with_suffix(".lock"))
        except OSError:
            continue
    return None


def _try_lock(file: BinaryIO) -> bool:
    """Return True when the lock is held, or when the file system knows no locks."""
    try:
        return try_lock(file)
    except OSError:
        return True


def _write(file: Any, records: Mapping[str, ImageRecord]) -> None:
    """Write records as arrays: all cells one after another, and one JSON text about the images."""
    images = [
        {
            "key": key,
            "stamps": [[s.size, s.mtime_ns, s.ctime_ns, s.sha256] for s in record.stamps],
            "size": [record.height, record.width],
            "is_8bit": record.is_8bit,
            "overlap_px": record.overlap_px,
            "looks_merged": record.looks_merged,
            "num_instances": len(record.instances.areas),
        }
        for key, record in records.items()
    ]
    parts = [record.instances for record in records.values()]
    counts = [rle["counts"] for part in parts for rle in part.rles]
    text = json.dumps({"version": _VERSION, "images": images})
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in _NUMBERS
    }
    arrays["images"] = np.frombuffer(text.encode(), dtype=np.uint8)
    arrays["rle_text"] = np.frombuffer("".join(counts).encode(), dtype=np.uint8)
    arrays["rle_lengths"] = np.array([len(text) for text in counts], dtype=np.int64)
    np.savez(file, **arrays)


def _read(path: Path) -> dict[str, ImageRecord]:
    """Read what `_write` wrote; raise some exception for anything else."""
    arrays = read_arrays(path)
    meta = json.loads(arrays["images"].tobytes())
    if meta["version"] != _VERSION:
        return {}
    ends = np.cumsum(arrays["rle_lengths"]).tolist()
    text = arrays["rle_text"].tobytes().decode("ascii")
    totals = {len(arrays[name]) for name in (*_NUMBERS, "rle_lengths")}
    if totals != {sum(image["num_instances"] for image in meta["images"])}:
        raise ValueError("its arrays are of unequal length")
    if len(text) != (ends[-1] if ends else 0):
        raise ValueError("its masks are incomplete")
    records = {}
    first = 0
    for image in meta["images"]:
        last = first + image["num_instances"]
        starts = [0, *ends][first:last]
        records[image["key"]] = record = ImageRecord(
            stamps=tuple(FileStamp(*stamp) for stamp in image["stamps"]),
            height=image["size"][0],
            width=image["size"][1],
            is_8bit=image["is_8bit"],
            overlap_px=image["overlap_px"],
            looks_merged=image["looks_merged"],
            instances=LayerInstances(
                **{name: arrays[name][first:last] for name in _NUMBERS},
                rles=[
                    {"size": list(image["size"]), "counts": text[start:end]}
                    for start, end in zip(starts, ends[first:last], strict=True)
                ],
            ),
        )
        _check(record)
        first = last
    return records


def _check(record: ImageRecord) -> None:
    """Raise ValueError unless a record could have been made from files."""
    cells, count = record.instances, len(record.instances.rles)
    whole = [record.height, record.width, record.overlap_px]
    times = [number for stamp in record.stamps for number in astuple(stamp)[:3]]
    is_typed = (
        all(type(number) is int for number in (*whole, *times))
        and all(isinstance(stamp.sha256, str) for stamp in record.stamps)
        and isinstance(record.is_8bit, bool)
        and isinstance(record.looks_merged, bool)
        and all(getattr(cells, name).dtype == np.int64 for name in _NUMBERS)
        and cells.boxes_xyxy.shape == (count, 4)
        and all(getattr(cells, name).shape == (count,) for name in _NUMBERS[1:])
    )
    if not is_typed or min(whole[:2]) < 1 or record.overlap_px < 0:
        raise ValueError("its values are of other types")
    if not count:
        return
    boxes, areas = measure_rles(cells.rles)
    num_layers = len(record.stamps) - 1  # the first one is of the image
    is_right = (
        np.array_equal(boxes, cells.boxes_xyxy)
        and np.array_equal(areas, cells.areas)
        and 0 <= cells.layers.min() <= cells.layers.max() < num_layers
        and cells.label_ids.min() > 0
        and cells.areas.min() > 0
    )
    if not is_right:
        raise ValueError("its cells do not agree with their masks")
