"""Read predictions from folders of label TIFFs, as this project and other tools write them."""

import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from cellseg.errors import CellDataError, CellsegError, as_cellseg_error
from cellseg.file_listing import list_files
from cellseg.formats.label_tiff import class_label_paths
from cellseg.formats.prediction_set import PredictionSet, TruthImage
from cellseg.images import read_label_map
from cellseg.structures.cells import Cells
from cellseg.structures.label_pieces import MERGED_LABELS_HINT, look_merged_in

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


def read_label_folder(
    root: Path,
    images: Sequence[TruthImage],
    class_names: Sequence[str],
    pattern: str | None = None,
) -> PredictionSet:
    """Read a folder of label TIFFs, as Cellpose, StarDist and others write them.

    Args:
        root: The folder.
        images: The images of the data set.
        class_names: The classes in order.
        pattern: How the files are called below the folder: `{image}` stands for the image's name
            and `{class}` for a class's number from 1 or its name, spelt as tools/predict.py does in
            file names or as it is. When None, the first of KNOWN_PATTERNS that an image's file
            follows, and no file may be called otherwise.

    Returns:
        The predictions, each of score 1.0.

    Raises:
        CellsegError: If no file follows the pattern, or one is of an unknown image or class, cannot
            be read, differs in size from its image, or is one of two for an image and class.
    """
    paths = [path for path in list_files(root) if path.suffix.lower() in (".tif", ".tiff")]
    if not paths:
        raise CellsegError(f"{root}: holds no label TIFF (.tif); convert the predictions to TIFF.")
    names = {path: path.relative_to(root).with_suffix(".tif").as_posix() for path in paths}
    by_name = {image.name: image for image in images}
    if pattern is None:
        pattern = _guess_pattern(root, names.values(), by_name)
        _refuse_strays(pattern, names)
    pattern = pattern.replace(os.sep, "/")  # names have "/", on Windows too
    layers: dict[int, dict[int, Path]] = {}
    for path, name in names.items():
        if found := _match(pattern, name):
            image, label = _place(path, found, by_name, class_names)
            first = layers.setdefault(image.img_id, {}).setdefault(label, path)
            if first != path:
                raise CellsegError(
                    f"{path}: is of the same image and class as {first}; remove one of them."
                )
    if not layers:
        raise CellsegError(
            f"{root}: no file is called {pattern}, with an image's name as {{image}}."
        )
    by_id = {image.img_id: image for image in images}
    merged: list[Path] = []
    by_image = {key: _read_layers(by_id[key], files, merged) for key, files in layers.items()}
    if merged:
        print_log(
            f"{root}: in {len(merged)} of {sum(map(len, layers.values()))} label files, such as "
            f"{merged[0]}, labels are in several pieces: {MERGED_LABELS_HINT}.",
            "current",
            logging.WARNING,
        )
    absent = [image.name for image in images if image.img_id not in by_image]
    return PredictionSet(by_image, absent, False, "{class}" in pattern)


def _match(pattern: str, name: str) -> dict[str, str] | None:
    """Match a file name, relative and with the suffix .tif, against a pattern."""
    parts = re.split(r"(\{image\}|\{class\})", re.sub(r"\.tiff?$", ".tif", pattern))
    groups = {"{image}": "(?P<image>.+)", "{class}": "(?P<class>[^/]+?)"}
    found = re.fullmatch("".join(groups.get(part, re.escape(part)) for part in parts), name)
    return found.groupdict() if found else None


def _guess_pattern(root: Path, names: Collection[str], by_name: Mapping[str, TruthImage]) -> str:
    """Choose the first known pattern that a file of a known image follows."""
    for pattern in KNOWN_PATTERNS:
        for name in names:
            found = _match(pattern, name)
            if found and found["image"] in by_name:
                return pattern
    first, image = next(iter(names)), next(iter(by_name), "which has none")
    raise CellsegError(
        f"{root}: none of its {len(names)} TIFFs ({first}, ...) is called after an image of the "
        f"data set ({image}, ...). Say with --files how they are called, as in "
        "'{image}/class{class}.tif'."
    )


def _refuse_strays(pattern: str, names: Mapping[Path, str]) -> None:
    """Raise CellsegError for files, path to relative name, that do not follow a guessed pattern.

    Such a file may well be a misspelt prediction, whose image would count as all missed.
    """
    images = {found["image"] for name in names.values() if (found := _match(pattern, name))}
    strays = []
    for path, name in names.items():
        combined = _match(_COMBINED.get(pattern, pattern), name) or {}
        is_known = Path(name).name in _DATA_FILES or combined.get("image") in images
        if not (_match(pattern, name) or is_known):
            strays.append(path)
    if strays:
        more = f", and {len(strays) - 1} more do not either" if len(strays) > 1 else ""
        raise CellsegError(
            f"{strays[0]}: does not follow the other files, which are called {pattern}{more}; "
            "remove or rename it, or say with --files how the label files are called."
        )


def _place(
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


def _read_layers(image: TruthImage, files: Mapping[int, Path], merged: list[Path]) -> Cells:
    """Read the label maps of one image, class index to file; add those that look merged."""
    names = image.cells.class_names
    parts = [Cells.empty(image.height, image.width, names)]
    for label, path in files.items():
        with as_cellseg_error(CellDataError):
            label_map = read_label_map(path)
        if label_map.shape != (image.height, image.width):
            raise CellsegError(
                f"{path}: is {label_map.shape[0]} x {label_map.shape[1]} pixels (height x width), "
                f"but image {image.name} is {image.height} x {image.width}."
            )
        if look_merged_in(label_map):
            merged.append(path)
        cells = Cells.from_label_map(label_map, label, names)
        parts.append(replace(cells, scores=np.ones(len(cells), dtype=np.float32)))
    return Cells.concatenate(parts)
