"""Write one image and its label maps as a folder that is either whole or not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_args

import numpy as np
import tifffile
from numpy.typing import NDArray

from cellseg.errors import CellDataError
from cellseg.fileio import write_atomically
from cellseg.formats.conversion.annotations import Loss, LossKind
from cellseg.formats.conversion.names import IGNORED

LOG_NAME = "conversion.json"


@dataclass(frozen=True)
class ImageLog:
    """What became of one image; lies in its folder, so that a later run can report on it.

    Attributes:
        origin: The file it was made from.
        cells: Number of cells by class name.
        ignored_regions: Number of regions to ignore.
        losses: What was left out or changed.
        fingerprint: What `AnnotatedImage.fingerprint` gave; empty in logs that lack it.
    """

    origin: str
    cells: Mapping[str, int]
    ignored_regions: int
    losses: tuple[Loss, ...]
    fingerprint: str = ""


def read_log(folder: Path) -> ImageLog | None:
    """Read what became of an image that is finished.

    Returns:
        The log; None where the folder is not there.

    Raises:
        CellDataError: If the folder was not written by a conversion.
    """
    if not folder.exists():
        return None
    try:
        row = json.loads((folder / LOG_NAME).read_text(encoding="utf-8"))
        losses = tuple(Loss(**loss) for loss in row.pop("losses"))
        log = ImageLog(**row, losses=losses)
        _check_log(log)
        return log
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CellDataError(
            f"{folder}: is there already, but not from a conversion; choose another output folder, "
            "or remove this one."
        ) from error


def _check_log(log: ImageLog) -> None:
    """Raise some exception unless a log holds what `write_image_folder` writes."""
    counts = [*log.cells.values(), log.ignored_regions, *(loss.pixels for loss in log.losses)]
    texts = [log.origin, log.fingerprint, *log.cells]
    texts += [text for loss in log.losses for text in (*loss[1:5], loss.hint)]
    is_typed = all(type(n) is int for n in counts) and all(isinstance(t, str) for t in texts)
    if not is_typed or not {loss.kind for loss in log.losses} <= set(get_args(LossKind)):
        raise TypeError("its values are of other types")


def write_image_folder(
    folder: Path, pixels: NDArray[Any], layers: Mapping[int, NDArray[Any]], log: ImageLog
) -> None:
    """Write `image.tif`, `class{k}.tif`, `ignore.tif` and the log aside, then rename the folder.

    Args:
        folder: Where they go, in place of what an earlier run wrote there.
        pixels: (H, W) or (H, W, 3) in R, G, B.
        layers: (H, W) label map by class index, regions to ignore under IGNORED.
        log: What became of the image.
    """
    aside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)  # left by a run that was stopped
    try:
        write_tiff(aside / "image.tif", pixels)
        for index, label_map in layers.items():
            name = "ignore.tif" if index == IGNORED else f"class{index + 1}.tif"
            write_tiff(aside / name, label_map)
        row = asdict(log) | {"losses": [loss._asdict() for loss in log.losses]}
        write_atomically(aside / LOG_NAME, json.dumps(row, indent=1))
        remove_image_folder(folder)
        aside.rename(folder)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(folder)  # what is aside is gone, and TIFFs do not say their name
        raise


def remove_image_folder(folder: Path) -> None:
    """Remove what an earlier run wrote for an image, so that no half of it is ever there."""
    aside = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(aside, ignore_errors=True)  # left by a run that was stopped
    if folder.exists():
        folder.rename(aside)
        shutil.rmtree(aside)


def write_tiff(path: Path, pixels: NDArray[Any]) -> None:
    """Write a TIFF with LZW, as the layout's files have it.

    Args:
        path: Where it goes.
        pixels: (H, W), or (H, W, 3) in R, G, B.
    """
    pixels = np.ascontiguousarray(pixels)

    def write(file: BinaryIO) -> None:
        handle = tifffile.FileHandle(file, name=path.name)  # a descriptor has no name of its own
        tifffile.imwrite(
            handle,
            pixels,
            photometric="rgb" if pixels.ndim == 3 else "minisblack",
            compression="lzw",
            predictor=pixels.dtype.kind == "u",
            metadata=None,
        )

    write_atomically(path, write)
