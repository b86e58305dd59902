"""Report what a conversion wrote, what it left out, and why."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from cellseg.formats.conversion.annotations import Loss
from cellseg.formats.conversion.image_folder import ImageLog

_KINDS = {
    "image": "left out",
    "cell": "left out",
    "file": "left out",
    "change": "changed",
    "warning": "to check",
}
_UNITS = {
    "image": ("image", "images"),
    "cell": ("cell", "cells"),
    "file": ("file", "files"),
    "change": ("cell", "cells"),
    "warning": ("case", "cases"),
}
_MOST_NAMES = 5


@dataclass
class ConversionReport:
    """The account of a conversion over all images, also those that an earlier run finished.

    Attributes:
        classes: Classes of the layout in order.
        cells: Number of cells by class.
        images: Number of images with a cell, by class.
        ignored_regions: Regions to ignore, and images that have any.
        written: Images that this run wrote for the first time.
        renewed: Images that this run wrote again, since what they are made from has changed.
        finished_before: Images that were there already.
        losses: Everything that was left out or changed.
        orphans: Folders of images that are no longer in the data.
    """

    classes: tuple[str, ...]
    cells: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    ignored_regions: tuple[int, int] = (0, 0)
    written: int = 0
    renewed: int = 0
    finished_before: int = 0
    losses: list[Loss] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)

    def add(self, log: ImageLog, outcome: Literal["written", "renewed", "kept"]) -> None:
        """Count an image."""
        self.cells.update(log.cells)
        self.images.update(log.cells.keys())
        regions, images = self.ignored_regions
        has_any = log.ignored_regions > 0
        self.ignored_regions = regions + log.ignored_regions, images + has_any
        self.losses += log.losses
        self.written += outcome == "written"
        self.renewed += outcome == "renewed"
        self.finished_before += outcome == "kept"

    def to_text(self) -> str:
        """Return the tables that a person reads."""
        lines = [f"{'class':<24} {'file':<12} {'images':>8} {'cells':>10}"]
        for number, name in enumerate(self.classes, start=1):
            file = f"class{number}.tif"
            lines.append(f"{name:<24} {file:<12} {self.images[name]:>8,} {self.cells[name]:>10,}")
        regions, images = self.ignored_regions
        if regions:
            lines.append(
                f"{'(regions to ignore)':<24} {'ignore.tif':<12} {images:>8,} {regions:>10,}"
            )
        lines += self._count_images()
        for kind in ("to check", "left out", "changed"):
            lines += _count_reasons(
                [loss for loss in self.losses if _KINDS[loss.kind] == kind], kind
            )
        if all(loss.kind == "warning" for loss in self.losses):
            lines.append("Nothing was left out or changed.")
        return "\n".join(lines)

    def _count_images(self) -> list[str]:
        """Say how many images there are, which runs wrote them, and what is there besides."""
        total = self.written + self.renewed + self.finished_before
        before = f", {self.finished_before:,} of them earlier"
        again = f", {self.renewed:,} again because the image or its annotations changed"
        lines = [
            f"{total:,} images written{before if self.finished_before else ''}"
            f"{again if self.renewed else ''}."
        ]
        if self.orphans:
            more = ", ..." if len(self.orphans) > _MOST_NAMES else ""
            lines.append(
                f"{len(self.orphans):,} more there, of images that are not in this data: "
                f"{', '.join(self.orphans[:_MOST_NAMES])}{more}."
            )
        return lines

    def to_csv(self) -> str:
        """Return a row for everything that was left out or changed."""
        buffer = io.StringIO()
        table = csv.writer(buffer, lineterminator="\n")
        table.writerow(["image", "annotation", "class", "what", "outcome", "reason", "pixels"])
        for loss in self.losses:
            what = "cell" if loss.kind == "change" else loss.kind
            facts = [
                loss.image,
                loss.label,
                loss.class_name,
                what,
                _KINDS[loss.kind],
                loss.reason + loss.hint,
            ]
            table.writerow([*map(_defuse, facts), loss.pixels or ""])
        return buffer.getvalue()


def _count_reasons(losses: Iterable[Loss], title: str) -> list[str]:
    """Count equal reasons, most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    pixels: Counter[tuple[str, str]] = Counter()
    images: dict[tuple[str, str], dict[str, None]] = {}
    for loss in losses:
        counts[loss.kind, loss.reason] += 1
        pixels[loss.kind, loss.reason] += loss.pixels
        images.setdefault((loss.kind, loss.reason), {})[loss.image] = None
    lines = [f"{title.capitalize()}:"] if counts else []
    for (kind, reason), count in counts.most_common():
        one, many = _UNITS[kind]
        lost = f" ({pixels[kind, reason]:,} px)" if pixels[kind, reason] else ""
        names = list(images[kind, reason])
        more = ", ..." if len(names) > _MOST_NAMES else ""
        where = f" [{', '.join(names[:_MOST_NAMES])}{more}]" if kind == "warning" else ""
        lines.append(f"  {count:>8,} {one if count == 1 else many:<7} {reason}{lost}{where}")
    return lines


def _defuse(text: str) -> str:
    """Keep a spreadsheet from taking a name in the data for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
