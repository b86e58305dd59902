"""Load the records of many images: from the cache where it is right, in parallel where not."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmengine.dist import get_rank
from tqdm import tqdm

from cellseg.cores import count_cores
from cellseg.datasets.annotation_cache import AnnotationCache
from cellseg.datasets.image_records import (
    ImageFiles,
    ImageRecord,
    read_image_record,
    refresh_stamp,
)
from cellseg.errors import CellDataError
from cellseg.images import DEFAULT_MAX_PIXELS

Outcome = ImageRecord | CellDataError
_MAX_WORKERS = 8


def load_records(
    images: Sequence[ImageFiles],
    cache: bool | str | Path = True,
    num_workers: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> list[Outcome]:
    """Load the records of images, reading only those files that are new or changed.

    Args:
        images: N images.
        cache: Whether to keep records between starts, or the folder to keep them in.
        num_workers: Threads that read images; None means one a core, 8 at most.
        max_pixels: Largest height x width that is decoded, in pixels.

    Returns:
        For each image its record, or the error that makes it useless, in the order of the images.
    """

    def read(files: ImageFiles) -> Outcome:
        try:
            return read_image_record(files, max_pixels)
        except CellDataError as error:
            return error

    if not cache:
        return _read_parallel(images, read, num_workers)
    folder = None if isinstance(cache, bool) else Path(cache)
    outcomes: dict[int, Outcome] = {}
    for root in dict.fromkeys(files.root for files in images):
        members = [index for index, files in enumerate(images) if files.root == root]
        loaded = _load_root(
            [images[index] for index in members], AnnotationCache(root, folder), read, num_workers
        )
        outcomes.update(zip(members, loaded, strict=True))
    return [outcomes[index] for index in range(len(images))]


def _load_root(
    images: Sequence[ImageFiles],
    cache: AnnotationCache,
    read: Callable[[ImageFiles], Outcome],
    num_workers: int | None,
) -> list[Outcome]:
    """Load the images of one data root, and bring its cache up to date."""
    records, is_current = _find_cached(images, cache.load())
    if is_current:
        return [records[files.key] for files in images]
    with cache.lock():
        stored = cache.load()  # another process may have written it while this one waited
        records, is_current = _find_cached(images, stored)
        if is_current:
            return [records[files.key] for files in images]
        missing = [files for files in images if files.key not in records]
        outcomes = dict(
            zip(
                (files.key for files in missing),
                _read_parallel(missing, read, num_workers),
                strict=True,
            )
        )
        fresh = {key: out for key, out in outcomes.items() if isinstance(out, ImageRecord)}
        mine = {_image_of(files.key) for files in images}
        others = {key: r for key, r in stored.items() if _is_kept(key, mine, images[0].root)}
        if records or fresh or others:
            cache.save({**others, **records, **fresh})
    return [records.get(files.key) or outcomes[files.key] for files in images]


def _find_cached(
    images: Sequence[ImageFiles], stored: dict[str, ImageRecord]
) -> tuple[dict[str, ImageRecord], bool]:
    """Pick the stored records whose files are unchanged.

    Returns:
        Records by key, and whether the cache needs no update: all are there, none was re-stamped.
    """
    records = {}
    is_current = True
    for files in images:
        record = stored.get(files.key)
        paths = (files.image, *files.label_paths)
        if record is None or len(record.stamps) != len(paths):
            is_current = False
            continue
        stamps = tuple(map(refresh_stamp, record.stamps, paths))
        is_current = is_current and stamps == record.stamps
        if None not in stamps:
            record.stamps = tuple(stamp for stamp in stamps if stamp is not None)
            records[files.key] = record
    return records, is_current


def _image_of(key: str) -> str:
    """Return the image's path, relative to its data root, of a record's key."""
    return key.split("\n", 1)[0]


def _is_kept(key: str, mine: set[str], root: Path) -> bool:
    """Return whether a stored record belongs to an image that exists but was not asked for now."""
    return _image_of(key) not in mine and (root / _image_of(key)).is_file()


def _read_parallel(
    images: Sequence[ImageFiles], read: Callable[[ImageFiles], Outcome], num_workers: int | None
) -> list[Outcome]:
    """Read images with threads (decoding and numpy release the GIL) behind a progress bar."""
    workers = num_workers or min(_MAX_WORKERS, count_cores())
    with ThreadPoolExecutor(max(1, min(workers, len(images)))) as pool:
        bar = tqdm(
            pool.map(read, images),
            total=len(images),
            desc="Reading label maps",
            unit="image",
            disable=True if get_rank() != 0 or not images else None,  # None: only on a terminal
        )
        return list(bar)
