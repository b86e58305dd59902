"""Find the images that a user means by files, folders and globs, and name their outputs."""

from __future__ import annotations

import glob
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from mmengine.logging import print_log

from cellseg.datasets.folder_facts import FACTS_NAME
from cellseg.errors import CellsegError
from cellseg.file_listing import is_hidden, list_files
from cellseg.images.kinds import is_readable_name

_FOLDS_CASE = sys.platform in ("win32", "darwin")  # there, A.csv and a.csv are one file
RECORD_SUFFIX = ".done.json"
"""What follows an image's name in the name of the record that marks it as finished."""


@dataclass(frozen=True)
class InputImage:
    """One image to predict: the file, and the name that its outputs start with.

    Attributes:
        path: The file; of an image elsewhere, its copy here.
        name: What the names of its outputs start with.
        url: Where an image elsewhere comes from.
        version: What changes with the content of an image elsewhere.
    """

    path: Path
    name: str
    url: str | None = None
    version: str = ""

    @property
    def origin(self) -> str:
        """Where the image comes from, as the user wrote it."""
        return self.url or str(self.path)

    def describe_state(self) -> dict[str, object]:
        """Describe what changes with the content."""
        if self.url is not None:
            return {"version": self.version}
        state = self.path.stat()
        return {"size": state.st_size, "changed": state.st_mtime_ns}


def find_input_images(inputs: Sequence[str | Path], out: Path | None = None) -> list[InputImage]:
    """Find all images behind a command line's inputs.

    A folder is searched at every depth; label maps (class1.tif, ignore.tif) beside an image are
    left out. An image takes its name from its file, or, being called image.tif as in the data
    layout, from its folder; where two would share a name, their folders are put in front.

    Args:
        inputs: Files, folders or glob patterns.
        out: The outputs' folder. It is not searched where it lies inside an input; where it is
            itself an input, what an earlier run has written there is left out.

    Returns:
        The images without repeats, in the order of the inputs, folders sorted.

    Raises:
        CellsegError: If an input matches nothing, or names cannot be told apart.
    """
    written = _list_written(out)
    left_out: set[Path] = set()
    found = dict.fromkeys(path for item in inputs for path in _expand(str(item), out, left_out))
    paths = [path for path in found if path.resolve() not in written]
    if not paths:
        raise CellsegError(f"All images among the inputs are outputs in {out}; give the images.")
    names = [_name_of(path) for path in paths]
    for depth, with_kind in ((1, False), (2, False), (3, False), (0, True), (1, True)):
        counts = Counter(map(_fold, names))
        names = [
            name if counts[_fold(name)] == 1 else _name_of(path, depth, with_kind)
            for name, path in zip(names, paths, strict=True)
        ]
    repeated = [name for name, count in Counter(map(_fold, names)).items() if count > 1]
    if repeated:
        raise CellsegError(
            f"Several inputs would be written as {repeated[0]}; rename one of them, or predict "
            f"them into folders "
            "of their own."
        )
    _report_left_out(left_out, written)
    return [InputImage(path, name) for path, name in zip(paths, names, strict=True)]


def _fold(name: str) -> str:
    """Bring names together that are one to the file system."""
    return name.casefold() if _FOLDS_CASE else name


def _report_left_out(left_out: set[Path], written: set[Path]) -> None:
    """Log how many files in the folders are no images by their names, and of which kinds."""
    kinds = Counter(
        path.suffix.lower() or "no suffix"
        for path in left_out
        if not path.name.endswith(RECORD_SUFFIX)
        and path.name != FACTS_NAME
        and path.resolve() not in written
    )
    if kinds:
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(10))
        print_log(
            f"{sum(kinds.values())} files in the folders are not images by their names and were "
            f"left out: {listed}. Name a file itself to have it read by its content.",
            "current",
            logging.WARNING,
        )


def _list_written(out: Path | None) -> set[Path]:
    """List what the records of finished images in a folder name as their outputs."""
    if out is None:
        return set()
    records = out.glob(f"*{RECORD_SUFFIX}")
    return {out.resolve() / name for record in records for name in list_written_names(record)}


def list_written_names(record: Path) -> set[str]:
    """List the names of the files that a finished image's record tells of; none if it is none."""
    try:
        return {str(name) for name in json.loads(record.read_text("utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def _expand(item: str, skip: Path | None, left_out: set[Path]) -> Iterable[Path]:
    """List the images behind one input; add what a folder holds besides to left_out."""
    path = Path(item).expanduser()
    if path.is_dir():
        found = sorted(_search(path, skip, left_out))
        if not found:
            raise CellsegError(f"The folder {path} holds no image; give another folder or file.")
        return found
    if path.exists() or not glob.has_magic(item):
        return [path]  # a file that is not there is reported like any bad file
    found = [Path(match) for match in sorted(glob.iglob(str(path), recursive=True))]  # noqa: PTH207
    fixed = len(list(takewhile(lambda part: not glob.has_magic(part), path.parts)))
    found = [match for match in found if not any(map(is_hidden, match.parts[fixed:]))]
    by_file = {  # '**' follows linked folders, in loops too: the shortest way to a file stays
        (match.parent.resolve(), match.name): match
        for match in sorted(found, key=lambda match: -len(match.parts))
    }
    found = sorted(by_file.values())
    images = [match for match in found if match.is_file() and not _is_label_map(match)]
    folders = [match for match in found if match.is_dir()]
    images += [image for folder in folders for image in sorted(_search(folder, skip, left_out))]
    if not images:
        raise CellsegError(f"No image matches {item}; check the pattern.")
    return images


def _search(folder: Path, skip: Path | None, left_out: set[Path]) -> Iterator[Path]:
    """Walk a folder for images, leaving out hidden ones, label maps and the folder to skip."""
    for path in list_files(folder, () if skip is None else {skip.resolve()}):
        if _is_label_map(path):
            continue
        if is_readable_name(path):
            yield path
        else:
            left_out.add(path)


def _is_label_map(path: Path) -> bool:
    """Return whether a file is a label map of the data layout: it lies beside image.tif."""
    stem = path.stem.lower()
    is_label_name = stem == "ignore" or (stem.startswith("class") and stem[5:].isdigit())
    return is_label_name and path.with_name("image.tif").exists()


def _name_of(path: Path, depth: int = 0, with_kind: bool = False) -> str:
    """Name an image by its file, its folder where that says nothing, and depth folders more."""
    full = path.absolute()
    parts = [full.stem] if full.stem.lower() != "image" else []
    wanted = depth + (1 if not parts else 0)
    folders = list(full.parent.parts[1:])
    chosen = folders[max(len(folders) - wanted, 0) :] + parts
    kind = [full.suffix.lstrip(".")] if with_kind else []
    return "_".join(chosen + kind) or full.stem
