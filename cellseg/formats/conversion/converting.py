"""Convert a data set, image by image, into folders of label TIFFs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellseg.datasets.folder_facts import FolderFacts, write_folder_facts
from cellseg.errors import CellDataError
from cellseg.fileio import write_atomically
from cellseg.formats.conversion.annotations import AnnotatedImage, Loss, Source
from cellseg.formats.conversion.image_folder import (
    LOG_NAME,
    ImageLog,
    read_log,
    remove_image_folder,
    write_image_folder,
)
from cellseg.formats.conversion.names import IGNORED, ClassTable
from cellseg.formats.conversion.painting import paint_annotations
from cellseg.formats.conversion.summary import ConversionReport

Progress = Callable[[Iterable[AnnotatedImage]], Iterable[AnnotatedImage]]


def convert(
    source: Source,
    table: ClassTable,
    out: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    skip_bad: bool = False,
    split_pieces: bool = False,
    progress: Progress = iter,
) -> ConversionReport:
    """Convert a data set; run again, it goes on where it stopped.

    An image that an earlier run finished is converted again where its fingerprint has changed.

    Args:
        source: The data.
        table: The class of each name, from `names.settle_classes`.
        out: Folder of the image folders. The report goes there, too, as conversion.txt, and as
            conversion.csv with a row for everything that did not come through; and what is known of
            the images as dataset.json.
        settings: What else decides the result, to notice a run with other ones.
        skip_bad: Leave out images that cannot be used, instead of raising.
        split_pieces: Make every connected piece of an annotation a cell of its own.
        progress: Shows how far it is, given the images.

    Returns:
        The account of all images.

    Raises:
        CellDataError: If there is no image, two would share a folder, the output folder belongs to
            another conversion, or an image cannot be used and skip_bad is not set.
    """
    check_source(source, skip_bad)
    _claim_folder(out, {"classes": table.classes, "places": table.places, **(settings or {})})
    report = ConversionReport(table.classes, losses=list(source.losses))
    for image in progress(source.images):
        folder, state = out / image.name, image.fingerprint()
        earlier = _find_earlier(folder, image)
        if earlier is not None and earlier.fingerprint == state:
            report.add(earlier, "kept")
            continue
        try:
            log = _convert_image(image, state, table, folder, split_pieces)
        except CellDataError as error:
            if not skip_bad:
                raise
            remove_image_folder(folder)
            report.losses.append(Loss("image", image.name, "", "", str(error)))
        else:
            report.add(log, "written" if earlier is None else "renewed")
    write_folder_facts(out, FolderFacts(tuple(table.classes), "rgb", source.pixel_size_um))
    report.orphans = _list_orphans(out, source)
    write_atomically(out / "conversion.txt", report.to_text() + "\n")
    write_atomically(out / "conversion.csv", report.to_csv())
    return report


def check_source(source: Source, skip_bad: bool = False) -> None:
    """Check what is known of a data set before an image is read.

    Raises:
        CellDataError: If there is no image, two would share a folder or, unless skip_bad is set,
            files cannot be read or have no partner; all of these in one message.
    """
    _check_names(source)
    unfit = [loss for loss in source.losses if loss.kind not in ("file", "warning")]
    unfit = [*source.unreadable, *unfit]
    if unfit and not skip_bad:
        _refuse_losses(unfit)


def _find_earlier(folder: Path, image: AnnotatedImage) -> ImageLog | None:
    """Return the log of an image that an earlier run wrote; CellDataError if of another one."""
    log = read_log(folder)
    if log is not None and log.origin != image.origin:
        raise CellDataError(
            f"{folder}: was made from {log.origin}, not from {image.origin}; choose another output "
            "folder, or remove this one."
        )
    return log


def _convert_image(
    image: AnnotatedImage, fingerprint: str, table: ClassTable, folder: Path, split_pieces: bool
) -> ImageLog:
    """Read, paint and write one image."""
    pixels, annotations = image.load()
    height, width = pixels.shape[:2]
    painted = paint_annotations(annotations, table, (height, width), image.name, split_pieces)
    counts = dict(painted.counts)
    regions = counts.pop(IGNORED, 0)
    cells = {table.classes[index]: count for index, count in counts.items() if count}
    layers: dict[int, NDArray[Any]] = {
        index: layer for index, layer in painted.layers.items() if np.any(layer)
    }
    log = ImageLog(image.origin, cells, regions, tuple(painted.losses), fingerprint)
    write_image_folder(folder, pixels, layers, log)
    return log


def _list_orphans(out: Path, source: Source) -> list[str]:
    """List the folders that earlier runs wrote for images that are not in the data now."""
    names = {image.name for image in source.images}
    folders = sorted(log.parent.name for log in out.glob(f"*/{LOG_NAME}"))
    return [name for name in folders if name not in names and not name.startswith(".")]


def _check_names(source: Source) -> None:
    """Raise CellDataError where there is no image, or two would go into the same folder."""
    if not source.images:
        listed = "; ".join(f"{loss.image}: {loss.reason}{loss.hint}" for loss in source.losses[:5])
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
    shown = []
    for loss in losses[:20]:
        where = f"{loss.image}{f', {loss.label}' if loss.label else ''}: "
        shown.append(f"{where}{loss.reason.removeprefix(where)}{loss.hint}")
    more = f"\n  and {len(losses) - 20} more" if len(losses) > 20 else ""
    raise CellDataError(
        f"{len(losses)} images or annotations cannot be used; fix them, or leave them out with "
        "--skip-bad:\n  " + "\n  ".join(shown) + more
    )


def _claim_folder(out: Path, settings: Mapping[str, Any]) -> None:
    """Note the settings in the output folder; raise CellDataError where others are noted.

    Names of the data may come and go, as annotations are corrected, but none may change its class.
    """
    path = out / LOG_NAME
    wanted = json.loads(json.dumps(settings))  # as the file gives them back
    if path.is_file():
        noted = _read_settings(path)
        places = noted.get("places", {})
        moved = any(places.get(name, place) != place for name, place in wanted["places"].items())
        wanted["places"] = {**places, **wanted["places"]}
        if moved or {**noted, "places": None} != {**wanted, "places": None}:
            raise CellDataError(
                f"{out}: holds a conversion of other data, classes or options (see {LOG_NAME}); "
                "choose another output folder, or remove this one."
            )
    write_atomically(path, json.dumps(wanted, indent=1, sort_keys=True) + "\n")


def _read_settings(path: Path) -> dict[str, Any]:
    """Read the settings that an earlier run noted; empty where the file is none of a conversion."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return {}
    whole = isinstance(noted, dict) and isinstance(noted.get("places", {}), dict)
    return noted if whole else {}
