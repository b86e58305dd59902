"""What a data folder says of itself: `dataset.json` beside the image folders.

    {"version": 1, "classes": ["nucleus"], "channel_order": "rgb", "pixel_size_um": 0.25}

Converters write it and `CellDataset` reads it; settings of a config take precedence. Each entry but
the version may be missing.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from reprlib import repr as shorten
from typing import Any

from cellseg.errors import CellDataError
from cellseg.fileio import read_text, write_atomically

FACTS_NAME = "dataset.json"
_VERSION = 1
_SAME_PIXEL_SIZE = 0.02  # sizes that differ by less are one


@dataclass(frozen=True)
class FolderFacts:
    """What is known of the images of a folder; None where it is not.

    Attributes:
        classes: Class names in the order of class1.tif, class2.tif, ...
        channel_order: Order of the channels in the files, 'rgb' or 'bgr'.
        pixel_size_um: Side of a pixel in micrometers.
    """

    classes: tuple[str, ...] | None = None
    channel_order: str | None = None
    pixel_size_um: float | None = None


def read_folder_facts(root: str | Path) -> FolderFacts:
    """Read the facts of one data folder.

    Args:
        root: The folder of the image folders.

    Returns:
        The facts; none are known where the folder has no dataset.json.

    Raises:
        CellDataError: If the file is there but cannot be used.
    """
    path = Path(root) / FACTS_NAME
    try:
        found = json.loads(read_text(path))
    except FileNotFoundError:
        return FolderFacts()
    except NotADirectoryError:
        return FolderFacts()
    except (OSError, ValueError, RecursionError) as error:
        raise CellDataError(
            f"{path}: is not valid JSON ({error}); fix it, or remove it."
        ) from error
    return _check_facts(path, found)


def join_folder_facts(roots: Iterable[str | Path], settled: Collection[str] = ()) -> FolderFacts:
    """Read the facts of several folders that make up one data set.

    Args:
        roots: The folders.
        settled: Facts that are known already: 'classes', 'channel_order'. They are left out.

    Returns:
        What the folders say.

    Raises:
        CellDataError: If two folders name other classes or channel orders.
    """
    joined = FolderFacts()
    sizes: list[float | None] = []
    for root in roots:
        facts = read_folder_facts(root)
        sizes.append(facts.pixel_size_um)
        for name in {"classes", "channel_order"}.difference(settled):
            ours, theirs = getattr(joined, name), getattr(facts, name)
            if ours is not None and theirs is not None and ours != theirs:
                raise CellDataError(
                    f"{Path(root) / FACTS_NAME}: {name} is {theirs}, but {ours} in the folders "
                    f"before it; set {name} in the config, or train on one of them."
                )
            joined = replace(joined, **{name: ours if ours is not None else theirs})
    return replace(joined, pixel_size_um=agree_on_pixel_size(sizes))


def agree_on_pixel_size(sizes: Iterable[float | None]) -> float | None:
    """Return the pixel size of images that all have the same one; unknown ones do not count.

    Args:
        sizes: In micrometers; None where one is not known.

    Returns:
        The size in micrometers; None where none is known, or they differ by more than 2%.
    """
    known = [size for size in sizes if size is not None]
    if not known or max(known) > min(known) * (1 + _SAME_PIXEL_SIZE):
        return None
    return known[0]


def write_folder_facts(root: Path, facts: FolderFacts) -> None:
    """Write the facts of a data folder; what an earlier file says and these do not is kept.

    Raises:
        CellDataError: If an earlier file cannot be used.
    """
    known = {name: value for name, value in asdict(facts).items() if value is not None}
    everything = asdict(replace(read_folder_facts(root), **known))
    content = {name: value for name, value in everything.items() if value is not None}
    text = json.dumps({"version": _VERSION, **content}, indent=1)
    write_atomically(root / FACTS_NAME, text + "\n")


def _check_facts(path: Path, found: Any) -> FolderFacts:
    """Turn what a file holds into facts; raise CellDataError where it cannot be."""
    if not isinstance(found, Mapping):
        raise CellDataError(f'{path}: must be a JSON object, such as {{"classes": ["nucleus"]}}.')
    classes, order = found.get("classes"), found.get("channel_order")
    size = found.get("pixel_size_um")
    if found.get("version", _VERSION) != _VERSION:
        raise CellDataError(
            f"{path}: has version {shorten(found['version'])}, but this cellseg reads version "
            f"{_VERSION}; update cellseg."
        )
    is_list = isinstance(classes, list) and all(map(is_class_name, classes))
    if classes is not None and not (is_list and classes and len(set(classes)) == len(classes)):
        raise CellDataError(
            f"{path}: classes must be a list of different names, not {shorten(classes)}."
        )
    if order not in (None, "rgb", "bgr"):
        raise CellDataError(f'{path}: channel_order must be "rgb" or "bgr", not {shorten(order)}.')
    if size is not None and not is_pixel_size(size):
        raise CellDataError(
            f"{path}: pixel_size_um must be micrometers above 0, such as 0.25, not {shorten(size)}."
        )
    names = None if classes is None else tuple(classes)
    return FolderFacts(names, order, None if size is None else float(size))


def is_class_name(value: Any) -> bool:
    """Return whether a value is text that can be written to a file and shown in a terminal."""
    return isinstance(value, str) and not any(
        unicodedata.category(letter) in ("Cc", "Cs")
        for letter in value  # control, half a character
    )


def is_pixel_size(value: Any) -> bool:
    """Return whether a value can be the side of a pixel in micrometers."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value <= sys.float_info.max
