"""The table of a cohort: one row per image, what was found in it, where, and what failed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellseg.cluster.cohort_plot import plot_cohort
from cellseg.fileio import write_atomically
from cellseg.inference.image_list import InputImage
from cellseg.inference.image_work import ImageOutcome
from cellseg.inference.output_folder import OutputOptions

TABLE_NAME = "cohort.csv"
PARQUET_NAME = "cohort.parquet"
PICTURE_NAME = "cohort.png"
_KEPT = ("seconds", "worker")  # of an image that an earlier run finished

Row = dict[str, Any]


def write_cohort(
    images: Sequence[InputImage],
    outcomes: Mapping[int, ImageOutcome],
    workers: Mapping[str, str],
    class_names: Sequence[str],
    options: OutputOptions,
) -> list[Row]:
    """Write the table as CSV, as Parquet where that is among the formats, and its picture.

    Args:
        images: All images of the run.
        outcomes: What became of them, by place; of images without one the table says that they are
            not done.
        workers: Which worker finished an image, by its name.
        class_names: Names of the model's classes.
        options: Where outputs go.

    Returns:
        The rows.
    """
    path = options.folder / TABLE_NAME
    before = _read_kept(path)
    rows = [
        make_row(image, outcomes.get(place), workers.get(image.name, ""), class_names)
        for place, image in enumerate(images)
    ]
    for row, image in zip(rows, images, strict=True):
        if image.name in before and row["seconds"] in ("", None):
            row.update(before[image.name])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["image"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())
    if "parquet" in options.formats:
        _write_parquet(rows, options.folder / PARQUET_NAME)
    plot_cohort(rows, class_names, options.folder / PICTURE_NAME)
    return rows


def make_row(
    image: InputImage, outcome: ImageOutcome | None, worker: str, class_names: Sequence[str]
) -> Row:
    """Make the row of one image; what is not known is None."""
    done = outcome is not None and outcome.error is None
    found = outcome if outcome is not None and done else None
    counts = found.cells_per_class if found else {}
    area = None
    if found and found.pixel_size_um:
        area = found.height * found.width * found.pixel_size_um**2 / 1e6
    error = "not done" if outcome is None else outcome.error
    return {
        "image": image.name,
        "file": image.origin,
        "cells": found.cells if found else None,
        **{f"cells_{name}": counts.get(name) for name in class_names},
        "width_px": found.width if found else None,
        "height_px": found.height if found else None,
        "pixel_size_um": found.pixel_size_um if found else None,
        "area_mm2": None if area is None else round(area, 6),
        "cells_per_mm2": round(found.cells / area, 3) if found and area else None,
        "seconds": round(found.seconds, 2) if found and not found.resumed else None,
        "worker": worker or None,
        "error": error,
    }


def _read_kept(path: Path) -> dict[str, Row]:
    """Read what an earlier table says that a new run cannot know."""
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
    except (OSError, ValueError, csv.Error):  # only what was measured is lost
        return {}
    return {
        row["image"]: {name: row.get(name) or None for name in _KEPT}
        for row in rows
        if row.get("image") and _is_time(row.get("seconds"))
    }


def _is_time(text: str | None) -> bool:
    """Return whether a cell of the table holds seconds, or nothing."""
    try:
        return float(text or 0) >= 0
    except ValueError:
        return False


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    """Write the table as Parquet."""
    import pyarrow
    from pyarrow import parquet

    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else {})}
    seconds = [None if value in ("", None) else float(value) for value in columns["seconds"]]
    table = pyarrow.table({**columns, "seconds": seconds})
    write_atomically(path, lambda file: parquet.write_table(table, file))
