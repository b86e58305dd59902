"""The cells of one image as people correct them: every step is on disk before it is answered.

The log is a text file with one JSON object per line: a step, "undo" or "redo". Read from the start
it gives the cells again; a last line that a kill cut off is left out.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellseg.errors import CellDataError
from cellseg.web.rings import Rings, measure_rings

VERSION = 1
MOST_BYTES = 2**30
"""Up to this size, a log is added to; who sends steps without end cannot fill the disk."""


@dataclass(frozen=True)
class PageCell:
    """One cell on the page.

    Attributes:
        key: Its number, which no other cell of the image ever has.
        label: Its class.
        score: The model's score; None where a person drew or corrected it.
        rings: Its outline in pixels of the image, see `cellseg.web.rings`.
        box: x1, y1, x2, y2 in pixels, x2 and y2 exclusive.
        area: Its pixels.
    """

    key: int
    label: int
    score: float | None
    rings: Rings
    box: tuple[int, int, int, int]
    area: int

    @classmethod
    def make(cls, key: int, label: int, score: float | None, rings: Rings) -> PageCell:
        """Make a cell and measure it."""
        return cls(key, label, score, rings, *measure_rings(rings))

    def to_json(self) -> dict[str, Any]:
        """Write the cell as the page and the log read it."""
        return {"k": self.key, "c": self.label, "s": self.score, "a": self.area, "r": self.rings}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> PageCell:
        """Read a cell of a log."""
        score = entry["s"]
        rings = [[int(value) for value in ring] for ring in entry["r"]]
        score = None if score is None else float(score)
        return cls.make(int(entry["k"]), int(entry["c"]), score, rings)

    def check(self, size: tuple[int, int]) -> None:
        """Raise ValueError for a cell that an image of this width and height cannot hold."""
        x1, y1, x2, y2 = self.box
        fits = 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]
        if not fits or not 0 < self.area <= (x2 - x1) * (y2 - y1) or self.label < 0:
            raise ValueError(f"cell {self.key} does not fit the image")


Outline = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class EditStep:
    """What one step takes away and adds; its inverse undoes it.

    Attributes:
        name: What was done, for the page.
        removed: Cells taken away.
        added: Cells added.
        regions: The reviewed regions before and after, where they change.
    """

    name: str
    removed: tuple[PageCell, ...] = ()
    added: tuple[PageCell, ...] = ()
    regions: tuple[tuple[Outline, ...], tuple[Outline, ...]] | None = None

    def inverse(self) -> EditStep:
        """Return the step that undoes this one."""
        regions = None if self.regions is None else self.regions[::-1]
        return EditStep(self.name, self.added, self.removed, regions)


@dataclass(eq=False)
class EditLog:
    """The cells and reviewed regions of an image, with all steps that led to them.

    Attributes:
        path: The log.
        cells: The cells by their keys.
        regions: Reviewed regions, each an outline in pixels.
        revision: How many lines the log has; a page that knows an older one must read again.
        steps: All steps that can be undone or done again.
        done: How many of them hold.
    """

    path: Path
    cells: dict[int, PageCell] = field(default_factory=dict)
    regions: tuple[Outline, ...] = ()
    revision: int = 0
    steps: list[EditStep] = field(default_factory=list)
    done: int = 0
    next_key: int = 1

    @classmethod
    def open(cls, path: Path, size: tuple[int, int]) -> EditLog:
        """Read a log, or begin one.

        Args:
            path: The file; its folder exists.
            size: Width and height of the image in pixels.

        Returns:
            The log.

        Raises:
            CellDataError: If it is that of an image of another size, or damaged.
        """
        log = cls(path)
        if not path.exists():
            log._write({"version": VERSION, "size": list(size)}, counts=False)
            return log
        lines = path.read_bytes().split(b"\n")
        whole = lines[:-1]  # what follows the last line break was cut off by a kill
        if lines[-1]:
            os.truncate(path, path.stat().st_size - len(lines[-1]))
        try:
            entries = [json.loads(line) for line in whole]
            if entries and entries[0]["version"] != VERSION:
                raise CellDataError(
                    f"{path}: holds corrections of version {entries[0]['version']!r:.20}, and this "
                    f"cellseg reads version {VERSION}; update cellseg, or move it away to begin "
                    "again."
                )
            if entries and entries[0]["size"] != list(size):
                raise CellDataError(
                    f"{path}: holds the corrections of an image of another size; move the file "
                    "away to begin again."
                )
            for entry in entries[1:]:
                log._replay(entry, size)
        except CellDataError:
            raise
        except Exception as error:  # what people or other programs wrote into it may be anything
            raise CellDataError(
                f"{path}: is damaged ({error!r:.200}); move it away to begin again."
            ) from error
        if not entries:
            log._write({"version": VERSION, "size": list(size)}, counts=False)
        return log

    def new_cells(
        self, rings: Iterable[Rings], labels: Sequence[int], scores: Sequence[float | None]
    ) -> tuple[PageCell, ...]:
        """Make cells with new numbers; they are added by a step."""
        made = []
        for own, label, score in zip(rings, labels, scores, strict=True):
            made.append(PageCell.make(self.next_key, label, score, own))
            self.next_key += 1
        return tuple(made)

    def apply(self, step: EditStep) -> EditStep:
        """Write a step down, then do it; what was undone before it cannot be done again."""
        entry: dict[str, Any] = {
            "do": step.name,
            "removed": [cell.key for cell in step.removed],
            "added": [cell.to_json() for cell in step.added],
        }
        if step.regions is not None:
            entry["regions"] = step.regions[1]
        self._write(entry)
        self._do(step)
        return step

    def undo(self) -> EditStep | None:
        """Undo the last step that holds; return what that changes, None where there is none."""
        if not self.done:
            return None
        self._write({"undo": 1})
        return self._undo()

    def redo(self) -> EditStep | None:
        """Do the step again that was undone last; as `undo`."""
        if self.done == len(self.steps):
            return None
        self._write({"redo": 1})
        return self._redo()

    def _do(self, step: EditStep) -> None:
        """Do a new step."""
        self._change(step)
        del self.steps[self.done :]
        self.steps.append(step)
        self.done += 1

    def _undo(self) -> EditStep:
        """Undo a step without writing."""
        self.done -= 1
        step = self.steps[self.done].inverse()
        self._change(step)
        return step

    def _redo(self) -> EditStep:
        """Do a step again without writing."""
        step = self.steps[self.done]
        self._change(step)
        self.done += 1
        return step

    def _change(self, step: EditStep) -> None:
        """Take away and add cells."""
        for cell in step.removed:
            del self.cells[cell.key]
        for cell in step.added:
            self.cells[cell.key] = cell
        if step.regions is not None:
            self.regions = step.regions[1]

    def _replay(self, entry: Mapping[str, Any], size: tuple[int, int]) -> None:
        """Do what a line of the log says; raise some exception where it cannot be so."""
        self.revision += 1
        if "undo" in entry:
            self._undo()
        elif "redo" in entry:
            self._redo()
        else:
            added = tuple(PageCell.from_json(cell) for cell in entry["added"])
            for cell in added:
                cell.check(size)
            removed = tuple(self.cells[int(key)] for key in entry["removed"])
            regions = None
            if "regions" in entry:
                regions = (self.regions, tuple(_read_outline(o, size) for o in entry["regions"]))
            self._do(EditStep(str(entry["do"]), removed, added, regions))
            self.next_key = max([self.next_key, *(cell.key + 1 for cell in added)])

    def _write(self, entry: Mapping[str, Any], counts: bool = True) -> None:
        """Append a line; it is on disk when this returns, and where it fails nothing of it is."""
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        with self.path.open("ab", buffering=0) as file:
            begin = file.seek(0, os.SEEK_END)
            if begin + len(line) > MOST_BYTES:
                raise CellDataError(
                    f"There are {MOST_BYTES / 2**20:,.0f} MiB of steps for this image, as many as "
                    "are kept; download the cells, or remove the image and upload it again."
                )
            try:
                if file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(begin)
                raise
        self.revision += counts


def _read_outline(points: Sequence[Sequence[float]], size: tuple[int, int]) -> Outline:
    """Read a reviewed region; raise some exception for one that is not inside the image."""
    outline = tuple((x, y) for x, y in points)
    if len(outline) < 3 or not all(0 <= x <= size[0] and 0 <= y <= size[1] for x, y in outline):
        raise ValueError("a reviewed region does not fit the image")
    return outline
