"""How the label files of an image are called: what is written, and what other tools write."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from cellseg.errors import CellsegError
from cellseg.formats.prediction_set import TruthImage

KNOWN_PATTERNS = (
    "{image}/class{class}.tif",
    "{image}_class{class}.tif",
    "{image}.labels.{class}.tif",
    "{image}/image_cp_masks.tif",
    "{image}/image_seg.tif",
    "{image}/labels.tif",
    "{image}/masks.tif",
    "{image}_cp_masks.tif",
    "{image}_labels.tif",
    "{image}.labels.tif",
    "{image}.tif",
)
"""How label files of predictions may be called, tried in this order; .tiff does as well.

`{image}.labels.{class}.tif` and `{image}.labels.tif` are what tools/predict.py writes.
"""

_COMBINED = {"{image}.labels.{class}.tif": "{image}.labels.tif"}
"""All classes in one file, which is not needed where each class has one of its own."""

_DATA_FILES = {"image.tif", "ignore.tif"}
"""Files of a data folder in which predictions may have been written."""


def class_label_paths(path: Path, class_names: Sequence[str]) -> list[Path]:
    """Name the label file of each class: `image.labels.tif` gives `image.labels.lymphocyte.tif`.

    What a file name may not hold becomes "_". Classes whose names are then the same, or differ in
    capitals only, get their number behind it: `image.labels.CD3__1.tif`, `image.labels.CD3__2.tif`.

    Args:
        path: The combined file.
        class_names: Names of all classes.

    Returns:
        One file per class, no two the same.
    """
    safe_names = [re.sub(r"[^\w-]+", "_", name) for name in class_names]
    counts = Counter(name.lower() for name in safe_names)
    taken = {name for name, count in counts.items() if count == 1}
    paths = []
    for number, name in enumerate(safe_names, 1):
        if counts[name.lower()] > 1:
            name = f"{name}_{number}"
            while name.lower() in taken:
                name += "_"
            taken.add(name.lower())
        paths.append(path.with_name(f"{path.stem}.{name}{path.suffix}"))
    return paths


def match_name(pattern: str, name: str) -> dict[str, str] | None:
    """Match a file name, relative and with the suffix .tif, against a pattern."""
    parts = re.split(r"(\{image\}|\{class\})", re.sub(r"\.tiff?$", ".tif", pattern))
    groups = {"{image}": "(?P<image>.+)", "{class}": "(?P<class>[^/]+?)"}
    found = re.fullmatch("".join(groups.get(part, re.escape(part)) for part in parts), name)
    return found.groupdict() if found else None


def guess_pattern(root: Path, names: Collection[str], by_name: Mapping[str, TruthImage]) -> str:
    """Choose the first known pattern that a file of a known image follows."""
    for pattern in KNOWN_PATTERNS:
        for name in names:
            found = match_name(pattern, name)
            if found and found["image"] in by_name:
                return pattern
    first, image = next(iter(names)), next(iter(by_name), "which has none")
    raise CellsegError(
        f"{root}: none of its {len(names)} TIFFs ({first}, ...) is called after an image of the "
        f"data set ({image}, ...). Say with --files how they are called, as in "
        "'{image}/class{class}.tif'."
    )


def refuse_strays(pattern: str, names: Mapping[Path, str]) -> None:
    """Raise CellsegError for files, path to relative name, that do not follow a guessed pattern.

    Such a file may well be a misspelt prediction, whose image would count as all missed.
    """
    images = {found["image"] for name in names.values() if (found := match_name(pattern, name))}
    strays = []
    for path, name in names.items():
        combined = match_name(_COMBINED.get(pattern, pattern), name) or {}
        is_known = Path(name).name in _DATA_FILES or combined.get("image") in images
        if not (match_name(pattern, name) or is_known):
            strays.append(path)
    if strays:
        more = f", and {len(strays) - 1} more do not either" if len(strays) > 1 else ""
        raise CellsegError(
            f"{strays[0]}: does not follow the other files, which are called {pattern}{more}; "
            "remove or rename it, or say with --files how the label files are called."
        )


def find_place(
    path: Path,
    found: Mapping[str, str],
    by_name: Mapping[str, TruthImage],
    class_names: Sequence[str],
) -> tuple[TruthImage, int]:
    """Find the image and the class index of a file."""
    if found["image"] not in by_name:
        raise CellsegError(
            f"{path}: is of image {found['image']!r}, which is not in this data set of "
            f"{len(by_name)} images; remove it, or choose the split that it belongs to."
        )
    # x.<class>.tif holds the class's name as tools/predict.py spells it.
    files = class_label_paths(Path("x.tif"), class_names)
    labels = {path.name.split(".")[1]: k for k, path in enumerate(files)}
    labels |= {name: k for k, name in enumerate(class_names)}
    labels |= {str(k): k - 1 for k in range(1, len(class_names) + 1)}
    given = found.get("class", "1")
    if given not in labels:
        raise CellsegError(
            f"{path}: is of class {given!r}; the classes are 1 to {len(class_names)} "
            f"({', '.join(class_names)}). Rename it, or give --files without {{class}} to leave "
            "classes out."
        )
    return by_name[found["image"]], labels[given]
