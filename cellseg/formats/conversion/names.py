"""Names: of image folders made from file names that cannot be trusted, and of classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cellseg.datasets.folder_facts import is_class_name
from cellseg.errors import CellDataError, CellsegError
from cellseg.formats.conversion.annotations import Source

IGNORED, LEFT_OUT = -1, -2
"""What `ClassTable.find` gives for regions to ignore and for names that are left out."""

_LONGEST_NAME = 150
_LONGEST_PART, _LONGEST_PATH = 255, 1024  # bytes
_IGNORE_TARGET, _DROP_TARGET = "ignore", "drop"


def find_inside(folder: Path, file_name: str, origin: Path) -> Path:
    """Find a file that other data names, and refuse names that lead out of the folder.

    Args:
        folder: Where the file must lie.
        file_name: Its path relative to the folder, with either kind of slash.
        origin: The file that names it, for the message.

    Returns:
        The path; the file need not exist.

    Raises:
        CellDataError: If the name is empty, absolute, or climbs with '..'.
    """
    relative = PurePosixPath(file_name.replace("\\", "/"))
    shown = file_name if len(file_name) <= 200 else f"{file_name[:200]}..."
    drive = re.match(r"[A-Za-z]:", file_name)
    if not relative.name or relative.is_absolute() or drive or ".." in relative.parts:
        raise CellDataError(
            f"{origin}: the image name {shown!r} does not stay inside {folder}; write a path "
            "relative to the folder of images."
        )
    if not _is_file_name(file_name):
        raise CellDataError(f"{origin}: the image name {shown!r} is not a file name; correct it.")
    return folder / relative


def _is_file_name(text: str) -> bool:
    """Return whether a path, with either kind of slash, is one that a file system can have."""
    try:
        content = text.encode()
    except UnicodeEncodeError:  # half a character
        return False
    parts = re.split(rb"[/\\]", content)
    is_short = len(content) <= _LONGEST_PATH and max(map(len, parts)) <= _LONGEST_PART
    return is_short and min(content, default=32) >= 32


def name_folder(relative_path: str | Path) -> str:
    """Name an image's folder in the layout after its file.

    Args:
        relative_path: The file, relative to the data.

    Returns:
        The path's parts without suffix, joined by '_': 'site/a 1.png' becomes 'site_a_1'. A file
        'a/image.tif', as this layout has them, is named after its folder.
    """
    path = PurePosixPath(str(relative_path).replace("\\", "/"))
    parts = [*path.parts[:-1], path.stem]
    if len(parts) > 1 and parts[-1] == "image":
        parts = parts[:-1]
    name = re.sub(r"[^\w.-]+", "_", "_".join(parts)).strip("._")
    return name[-_LONGEST_NAME:] or "image"


def parse_class_map(pairs: Sequence[str]) -> dict[str, str]:
    """Read `name=class` pairs.

    Raises:
        CellsegError: If a pair has no '=' or no class, or a name comes twice.
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        name, equals, target = pair.rpartition("=")
        if not equals or not name or not target.strip():
            raise CellsegError(
                f"--class-map takes pairs such as Tumor=tumour, not {pair!r}; the class 'ignore' "
                "makes regions to ignore, 'drop' leaves annotations out."
            )
        if name in mapping:
            raise CellsegError(f"--class-map gives {name!r} twice; keep one.")
        mapping[name] = target.strip()
    return mapping


@dataclass(frozen=True)
class ClassTable:
    """Which class each name of the data belongs to.

    Attributes:
        classes: Classes of the layout, in the order of class1.tif, class2.tif, ...
        places: Class index of each name of the data, IGNORED or LEFT_OUT.
    """

    classes: tuple[str, ...]
    places: Mapping[str, int]

    def find(self, name: str) -> int:
        """Return the class index of a name of the data, IGNORED or LEFT_OUT."""
        return self.places.get(name, LEFT_OUT)


def settle_classes(
    source: Source,
    classes: Sequence[str] | None = None,
    class_map: Mapping[str, str] | None = None,
    skip_unknown: bool = False,
) -> ClassTable:
    """Decide which class each name of the data belongs to.

    Args:
        source: The data.
        classes: Classes of the layout in order; taken from the data when None.
        class_map: Class of names that the data writes differently; 'ignore' for regions to ignore,
            'drop' for what is to be left out.
        skip_unknown: Leave annotations of unknown names out, instead of raising.

    Returns:
        The table.

    Raises:
        CellsegError: If names are unknown, or there is no class at all.
    """
    targets = {name: _IGNORE_TARGET for name in source.ignored_classes} | dict(class_map or {})
    special = (_IGNORE_TARGET, _DROP_TARGET)
    if classes is None:
        listed = source.default_classes
        names = source.found_classes if listed is None else listed
        mapped = [targets.get(name, name) for name in names]
        classes = [name for name in dict.fromkeys(mapped) if name not in special]
    repeated = len(set(classes)) != len(classes)
    if repeated or not classes:
        problem = "names a class twice" if repeated else "is needed, the data names no class"
        unread = f" ({source.unreadable[0].reason})" if source.unreadable and not repeated else ""
        raise CellsegError(
            f"--classes {problem}{unread}; give each class once, in the order wanted."
        )
    if not all(map(is_class_name, classes)):
        odd = next(name for name in classes if not is_class_name(name))
        raise CellsegError(
            f"The class {odd[:80]!a} has characters that cannot be shown; give the class another "
            "name with --class-map NAME=CLASS, or correct the data."
        )
    known = {name: index for index, name in enumerate(classes)}
    known |= {_IGNORE_TARGET: IGNORED, _DROP_TARGET: LEFT_OUT}
    places = {
        name: known.get(targets.get(name, name)) for name in [*source.found_classes, *targets]
    }
    unknown = [name for name in source.found_classes if places[name] is None]
    if unknown and not skip_unknown:
        raise CellsegError(
            f"The data has classes that are not among {', '.join(classes)}: {', '.join(unknown)}. "
            "Add them to --classes, say with --class-map NAME=CLASS what they are (CLASS may be "
            "'ignore' or 'drop'), or leave them out with --skip-unknown."
        )
    settled = {name: LEFT_OUT if place is None else place for name, place in places.items()}
    return ClassTable(tuple(classes), settled)
