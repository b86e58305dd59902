"""Read one image with its label maps into a record that no later option changes.

A record is what the cache holds: what was read, and stamps that show whether the files are still
the ones that were read. Class names, minimum areas and splits are applied to records afterwards.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellseg.datasets.layer_instances import (
    LayerInstances,
    count_overlap_px,
    find_instances,
    split_pieces,
)
from cellseg.errors import CellDataError
from cellseg.images import DEFAULT_MAX_PIXELS, read_label_map, summarize_image
from cellseg.structures.label_pieces import count_pieces, is_yes_no_mask, look_merged
from cellseg.structures.rle import decode_runs

_UNSETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class ImageFiles:
    """The files of one image.

    `name` is its id: the folder, or the file without suffix, relative to the data root. `labels`
    are the class files that exist, in class order, and `label_classes` their class indices.
    `img_id` is a number unique in the data set.
    """

    name: str
    img_id: int
    root: Path
    image: Path
    labels: tuple[Path, ...] = ()
    label_classes: tuple[int, ...] = ()
    ignore: Path | None = None
    declared_size: tuple[int, int] | None = None

    @property
    def label_paths(self) -> tuple[Path, ...]:
        """All label maps in the order of the layers: the classes, then the regions to ignore."""
        return self.labels if self.ignore is None else (*self.labels, self.ignore)

    @property
    def layer_classes(self) -> tuple[int, ...]:
        """Class index of each layer, -1 for regions to ignore."""
        return self.label_classes if self.ignore is None else (*self.label_classes, -1)

    @property
    def key(self) -> str:
        """Say which files, in which role, make up the image, relative to the data root."""
        names = [path.relative_to(self.root).as_posix() for path in (self.image, *self.label_paths)]
        return "\n".join([*names, "ignore" if self.ignore else ""])


@dataclass(frozen=True)
class FileStamp:
    """Size in bytes, times in ns and SHA-256 of a file as it was read; times are 0 if unsettled."""

    size: int
    mtime_ns: int
    ctime_ns: int
    sha256: str


@dataclass
class ImageRecord:
    """What was read from the files of one image.

    `stamps` are those of image and label maps; `looks_merged` says whether labels seem to stand for
    many cells each.
    """

    stamps: tuple[FileStamp, ...]
    height: int
    width: int
    is_8bit: bool
    overlap_px: int
    instances: LayerInstances
    looks_merged: bool = False


def read_image_record(files: ImageFiles, max_pixels: int = DEFAULT_MAX_PIXELS) -> ImageRecord:
    """Decode an image and its label maps once, check them, and find all cells.

    Args:
        files: The image's files.
        max_pixels: Largest height x width that is decoded, in pixels.

    Returns:
        The record; its instances may be none.

    Raises:
        CellDataError: If a file cannot be read, or a label map's shape is not the image's.
    """
    stamps = tuple(stamp_file(path) for path in (files.image, *files.label_paths))
    summary = summarize_image(files.image, max_pixels)
    shape = (summary.height, summary.width)
    layers = read_layers(files.label_paths, files.layer_classes, shape, max_pixels)
    num_classes = len(files.labels)
    found = find_instances(layers)
    return ImageRecord(
        stamps=stamps,
        height=summary.height,
        width=summary.width,
        is_8bit=summary.is_8bit,
        overlap_px=count_overlap_px(layers[:num_classes]),
        instances=found,
        looks_merged=_look_merged(found, num_classes, summary.height),
    )


def _look_merged(found: LayerInstances, num_classes: int, height: int) -> bool:
    """Return whether labels of the classes' layers seem to stand for many cells each."""
    runs_of_layers = (
        decode_runs([found.rles[index] for index in np.flatnonzero(found.layers == layer)])
        for layer in range(num_classes)
    )
    counts = np.bincount(found.layers, minlength=num_classes).tolist()
    if any(is_yes_no_mask(found.label_ids[found.layers == k].tolist()) for k in range(num_classes)):
        return True
    return look_merged(
        count_pieces(runs, count, height)
        for runs, count in zip(runs_of_layers, counts, strict=False)
    )


def read_layers(
    label_paths: Sequence[str | Path],
    layer_classes: Sequence[int],
    shape: tuple[int, int],
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> list[NDArray[np.int32]]:
    """Read the label maps of one image.

    Args:
        label_paths: L files.
        layer_classes: (L,) class index of each file; -1 for one of regions to ignore.
        shape: Height and width of the image in pixels.
        max_pixels: Largest height x width that is decoded, in pixels.

    Returns:
        L label maps (H, W); regions to ignore are split into connected pieces.

    Raises:
        CellDataError: If a file cannot be read, or its shape is not the image's.
    """
    layers = []
    for path, class_index in zip(label_paths, layer_classes, strict=True):
        layer = read_label_map(path, max_pixels)
        if layer.shape != shape:
            raise CellDataError(
                f"{path}: is {layer.shape[0]} x {layer.shape[1]} pixels but its image is "
                f"{shape[0]} x {shape[1]}; save label maps at the image's height and width."
            )
        layers.append(split_pieces(layer) if class_index < 0 else layer)
    return layers


def stamp_file(path: Path) -> FileStamp:
    """Stamp a file with its size, times and content hash.

    Times are left out where the file was written a moment ago: it could then change once more
    within the resolution of its times, so that the next start must compare the content.

    Raises:
        CellDataError: If the file cannot be read.
    """
    try:
        before = path.stat()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CellDataError(
            f"{path}: cannot be opened ({error}); check that it is there."
        ) from error
    newest = max(before.st_mtime_ns, before.st_ctime_ns)
    if time.time_ns() - newest < _UNSETTLED_NS:
        return FileStamp(before.st_size, 0, 0, digest)
    return FileStamp(before.st_size, before.st_mtime_ns, before.st_ctime_ns, digest)


def refresh_stamp(stamp: FileStamp, path: Path) -> FileStamp | None:
    """Check that a file still is what was stamped, by its content only where size or times moved.

    Returns:
        The same stamp; a new one where only times moved; None where the content changed or the
        file cannot be read.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    if status.st_size != stamp.size:
        return None
    if (status.st_mtime_ns, status.st_ctime_ns) == (stamp.mtime_ns, stamp.ctime_ns):
        return stamp
    try:
        current = stamp_file(path)
    except CellDataError:
        return None
    return current if current.sha256 == stamp.sha256 else None
