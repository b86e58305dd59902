"""Convert a data set, image by image, into folders of label TIFFs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.datasets.converters.annotations import AnnotatedImage, Loss, Source
from cellseg.datasets.converters.image_folder import (
    LOG_NAME,
    ImageLog,
    read_log,
    write_image_folder,
)
from cellseg.datasets.converters.names import IGNORED, ClassTable
from cellseg.datasets.converters.painting import paint_annotations
from cellseg.datasets.converters.report import ConversionReport
from cellseg.datasets.tiff_io import CellDataError
from cellseg.fileio import write_atomically

Progress = Callable[[Iterable[AnnotatedImage]], Iterable[AnnotatedImage]]


def convert(
    source: Source,
    table: ClassTable,
    out: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    skip_bad: bool = False,
    progress: Progress = iter,
) -> ConversionReport:
    """Convert a data set; run again, it goes on where it stopped.

    Args:
        source: The data.
        table: The class of each name, from `names.settle_classes`.
        out: Folder of the image folders. The report goes there, too, as conversion.txt, and as
            conversion.csv with a row for everything that did not come through.
        settings: What else decides the result, to notice a run with other ones.
        skip_bad: Leave out images that cannot be used, instead of raising.
        progress: Shows how far it is, given the images.

    Returns:
        The account of all images.

    Raises:
        CellDataError: If there is no image, two would share a folder, the output folder belongs to
            another conversion, or an image cannot be used and skip_bad is not set.
    """
    _check_names(source)
    if source.losses and not skip_bad:
        _refuse_losses(source.losses)
    _claim_folder(out, {"classes": table.classes, "places": table.places, **(settings or {})})
    report = ConversionReport(table.classes, losses=list(source.losses))
    for image in progress(source.images):
        folder = out / image.name
        log = _find_finished(folder, image)
        try:
            report.add(log or _convert_image(image, table, folder), is_new=log is None)
        except CellDataError as error:
            if not skip_bad:
                raise
            report.losses.append(Loss("image", image.name, "", "", str(error)))
    write_atomically(out / "conversion.txt", report.to_text() + "\n")
    write_atomically(out / "conversion.csv", report.to_csv())
    return report


def _find_finished(folder: Path, image: AnnotatedImage) -> ImageLog | None:
    """Return the log of an image that an earlier run finished; CellDataError if of another one."""
    log = read_log(folder)
    if log is not None and log.origin != image.origin:
        raise CellDataError(
            f"{folder}: was made from {log.origin}, not from {image.origin}; choose another output "
            "folder, or remove this one."
        )
    return log


def _convert_image(image: AnnotatedImage, table: ClassTable, folder: Path) -> ImageLog:
    """Read, paint and write one image."""
    pixels, annotations = image.load()
    height, width = pixels.shape[:2]
    painted = paint_annotations(annotations, table, (height, width), image.name)
    counts = dict(painted.counts)
    regions = counts.pop(IGNORED, 0)
    cells = {table.classes[index]: count for index, count in counts.items() if count}
    layers: dict[int, NDArray[Any]] = {
        index: layer for index, layer in painted.layers.items() if np.any(layer)
    }
    log = ImageLog(image.origin, cells, regions, tuple(painted.losses))
    write_image_folder(folder, pixels, layers, log)
    return log


def _check_names(source: Source) -> None:
    """Raise CellDataError where there is no image, or two would go into the same folder."""
    if not source.images:
        listed = "; ".join(f"{loss.image}: {loss.reason}" for loss in source.losses[:5])
        raise CellDataError(f"No annotated image was found{f': {listed}' if listed else ''}.")
    origins: dict[str, str] = {}
    for image in source.images:
        key = image.name.casefold()  # two names may be one to a file system
        if key in origins:
            raise CellDataError(
                f"{image.origin} and {origins[key]} would both become {image.name}; rename one."
            )
        origins[key] = image.origin


def _refuse_losses(losses: list[Loss]) -> None:
    """Raise CellDataError for what was left out before an image was read, all in one message."""
    shown = [
        f"{loss.image}{f', {loss.label}' if loss.label else ''}: {loss.reason}"
        for loss in losses[:20]
    ]
    more = f"\n  and {len(losses) - 20} more" if len(losses) > 20 else ""
    raise CellDataError(
        f"{len(losses)} parts of the data do not fit together; mend them, or leave them out with "
        "--skip-bad:\n  " + "\n  ".join(shown) + more
    )


def _claim_folder(out: Path, settings: Mapping[str, Any]) -> None:
    """Note the settings in the output folder; raise CellDataError where others are noted."""
    path = out / LOG_NAME
    wanted = json.dumps(settings, indent=1, sort_keys=True) + "\n"
    if path.is_file():
        if path.read_text(encoding="utf-8") != wanted:
            raise CellDataError(
                f"{out}: holds a conversion of other data, classes or options (see {LOG_NAME}); "
                "choose another output folder, or remove this one."
            )
        return
    write_atomically(path, wanted)
