"""The cells of some tiles of an image, on disk until all of its tiles are done."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cellseg.errors import CellsegError
from cellseg.fileio import read_arrays, write_atomically
from cellseg.inference.predictor import TileCells
from cellseg.structures.cells import Cells
from cellseg.structures.rle import RLE, measure_rles

Range = tuple[int, int]
"""The first batch of a part, and the batch after its last one."""
_NAME = re.compile(r"(\d+)-(\d+)\.npz")


class PartStore:
    """The finished parts of one image.

    Args:
        folder: Where they lie; its name changes with whatever decides the cells.
        class_names: Names of the model's classes.
    """

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        """Keep the arguments; see the class."""
        self.folder = folder
        self._class_names = tuple(class_names)

    def write(self, part: Range, found: TileCells, height: int, width: int) -> None:
        """Write what was found in some batches.

        Args:
            part: Which batches.
            found: The cells of their tiles.
            height: Height of the image in pixels.
            width: Width in pixels.
        """
        empty = Cells.empty(height, width, self._class_names)
        cells = Cells.concatenate([empty, *(cells for _, cells in found.parts)])
        texts = [rle["counts"].encode() for rle in cells.rles]
        arrays = {
            "tiles": np.array([tile for tile, _ in found.parts], dtype=np.int64),
            "lengths": np.array([len(cells) for _, cells in found.parts], dtype=np.int64),
            "boxes": cells.boxes,
            "scores": cells.confidences,
            "labels": cells.labels,
            "counts": np.frombuffer(b"".join(texts), dtype=np.uint8),
            "ends": np.cumsum([len(text) for text in texts], dtype=np.int64),
            "facts": np.array([height, width, found.num_tiles, found.num_background]),
        }

        def save(file: BinaryIO) -> None:
            np.savez(file, **arrays)  # type: ignore[arg-type]

        write_atomically(self._path_of(part), save)

    def read(self, parts: Sequence[Range]) -> TileCells:
        """Read some parts.

        Raises:
            CellsegError: If one is gone or damaged.
        """
        return TileCells.join([self._read_part(part) for part in parts])

    def list_parts(self) -> list[Range]:
        """List parts that are there, ascending, without those that overlap an earlier one."""
        names = [path.name for path in self.folder.glob("*.npz")] if self.folder.is_dir() else []
        found = (_NAME.fullmatch(name) for name in names)
        ranges = sorted((int(match[1]), int(match[2])) for match in found if match)
        parts: list[Range] = []
        for begin, end in ranges:
            if not parts or begin >= parts[-1][1]:
                parts.append((begin, end))
        return parts

    def remove(self) -> None:
        """Remove all parts, also those of other settings."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    def _path_of(self, part: Range) -> Path:
        """Name the file of a part."""
        return self.folder / f"{part[0]:08d}-{part[1]:08d}.npz"

    def _read_part(self, part: Range) -> TileCells:
        """Read one part."""
        path = self._path_of(part)
        try:
            return self._parse(read_arrays(path))
        except Exception as error:  # a damaged file makes numpy raise nearly anything
            raise CellsegError(
                f"{path}: the cells of a part of the image cannot be read ({error!s:.200}); remove "
                "the file and run the same command again."
            ) from error

    def _parse(self, arrays: dict[str, np.ndarray]) -> TileCells:
        """Turn the arrays of a part into its cells."""
        height, width, num_tiles, num_background = arrays["facts"].tolist()
        text, ends = arrays["counts"].tobytes().decode("ascii"), arrays["ends"].tolist()
        rles = [
            RLE(size=[height, width], counts=text[begin:end])
            for begin, end in zip([0, *ends[:-1]], ends, strict=False)
        ]
        _check(arrays, rles, len(self._class_names))
        found = TileCells([], num_tiles, num_background)
        first = 0
        for tile, length in zip(arrays["tiles"].tolist(), arrays["lengths"].tolist(), strict=True):
            own = slice(first, first + length)
            boxes, scores, labels = (arrays[name][own] for name in ("boxes", "scores", "labels"))
            cells = Cells(boxes, scores, labels, rles[own], height, width, self._class_names)  # type: ignore[arg-type]
            found.parts.append((tile, cells))
            first += length
        return found


def _check(arrays: dict[str, np.ndarray], rles: list[RLE], num_classes: int) -> None:
    """Raise some exception unless arrays could have been written for these masks."""
    count, labels, ends = len(rles), arrays["labels"], arrays["ends"]
    measure_rles(rles)  # which decodes every run
    is_right = (
        int(arrays["lengths"].sum()) == count == len(labels) == len(arrays["scores"])
        and bool((np.diff(ends, prepend=0) > 0).all())
        and int(ends[-1] if count else 0) == len(arrays["counts"])
        and arrays["boxes"].shape == (count, 4)
        and bool(np.isfinite(arrays["boxes"]).all() and np.isfinite(arrays["scores"]).all())
        and (not count or 0 <= labels.min() <= labels.max() < num_classes)
    )
    if not is_right:
        raise ValueError("its arrays do not agree")


def cut_rest(num_batches: int, done: Sequence[Range], most: int) -> list[Range]:
    """Cut what is not done yet into parts of equal size.

    Args:
        num_batches: Batches of the image.
        done: Finished parts, ascending, without overlap.
        most: Most batches in a part.

    Returns:
        The parts to do, ascending; those that are done are none of them.
    """
    gaps = zip(
        [0, *(end for _, end in done)], [*(begin for begin, _ in done), num_batches], strict=True
    )
    parts = []
    for begin, end in gaps:
        if end > begin:
            pieces = -(-(end - begin) // most)
            marks = np.linspace(begin, end, pieces + 1).round().astype(int).tolist()
            parts += list(zip(marks[:-1], marks[1:], strict=True))
    return parts
