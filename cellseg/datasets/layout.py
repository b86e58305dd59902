"""Find the files of each image of a data set, and complain about those that fit nowhere.

Two layouts are known: one folder per image, `<id>/image.tif` beside `class{k}.tif` and
`ignore.tif`; and a test index, a JSON list of `{file_name, id, height, width}` with the files in
one folder.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cellseg.datasets.image_records import ImageFiles
from cellseg.errors import CellDataError
from cellseg.file_listing import is_hidden
from cellseg.fileio import read_text

_TIFF_SUFFIXES = {".tif", ".tiff"}


@dataclass(frozen=True)
class FileNames:
    """How the files in an image's folder are called.

    `labels` holds, for each class in order, the names of its label maps. `ignore` may be None.
    Unknown TIFFs beside them are errors unless `allow_unknown`.
    """

    image: str
    labels: tuple[tuple[str, ...], ...]
    ignore: str | None
    allow_unknown: bool = False


def name_label_files(
    classes: Sequence[str], label_names: Mapping[str, str | Sequence[str]] | None
) -> tuple[tuple[str, ...], ...]:
    """Decide which label files belong to each class.

    Args:
        classes: Class names in order.
        label_names: File name, or several, of each class; None means class1.tif, class2.tif, ...

    Returns:
        File names of each class, in the order of the classes.

    Raises:
        ValueError: If the keys are not exactly the classes, or two classes share a file.
    """
    if label_names is None:
        return tuple((f"class{k}.tif",) for k in range(1, len(classes) + 1))
    if set(label_names) != set(classes):
        raise ValueError(
            f"label_names must name a file for each of the classes {list(classes)}, "
            f"not for {list(label_names)}."
        )
    values = [label_names[name] for name in classes]
    files = tuple((value,) if isinstance(value, str) else tuple(value) for value in values)
    flat = [name for names in files for name in names]
    if len(set(flat)) != len(flat):
        raise ValueError(f"label_names gives one file to two classes: {flat}.")
    return files


def find_images(
    roots: Sequence[Path], names: FileNames, include: Iterable[str] | None = None
) -> tuple[list[ImageFiles], list[str]]:
    """Find every `<id>/image.tif` below the data roots.

    Args:
        roots: Data roots. With several, an image is named relative to their common parent.
        names: How files are called.
        include: Names of the images wanted; a name may lead further down ('site_a/001'). None
            takes every folder directly below the roots.

    Returns:
        The images in order of name, numbered from 1 over all folders of the roots whatever is
        included, and one message for each folder that cannot be used.

    Raises:
        CellDataError: If a data root is absent, holds no image, or an included one is not there.
    """
    for root in roots:
        if not root.is_dir():
            raise CellDataError(
                f"{root}: no such data folder; put the data there or correct data_root."
            )
    roots = roots if len(roots) == 1 else [root.absolute() for root in roots]
    base = roots[0] if len(roots) == 1 else Path(os.path.commonpath(roots))
    wanted = None if include is None else list(dict.fromkeys(include))
    folders = {
        folder.relative_to(base).as_posix(): (root, folder)
        for root in roots
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not is_hidden(folder.name)
    }
    images = {name: place for name, place in folders.items() if (place[1] / names.image).is_file()}
    messages = []
    if wanted is not None:
        images |= _find_included(wanted, images, roots, base, names)
    else:
        useless = [folder for name, (_, folder) in folders.items() if name not in images]
        messages = [_explain_folder(folder, names) for folder in useless]
    if not images:
        raise CellDataError(_explain_no_image(roots, names))
    found = []
    for img_id, name in enumerate(sorted(images), start=1):
        if wanted is None or name in wanted:
            root, folder = images[name]
            try:
                found.append(_list_files(name, img_id, root, folder, names))
            except CellDataError as error:
                messages.append(str(error))
    return found, [message for message in messages if message]


def read_test_index(root: Path, index_path: Path, names: FileNames) -> list[ImageFiles]:
    """Find the images of a test index; ids are those of the index.

    Args:
        root: Folder that holds the index's files, or a folder `<file name without suffix>` each.
        index_path: JSON list of `{file_name, id, height, width}`.
        names: How the files in a folder are called.

    Returns:
        The images in the order of the index. One that is not there keeps the path where it should
        be, so that reading it gives the error.

    Raises:
        CellDataError: If the index cannot be read, or repeats an id or a file.
    """
    try:
        rows = json.loads(read_text(index_path, "utf-8-sig"))
        rows = [(str(row["file_name"]), int(row["id"]), _declared_size(row)) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CellDataError(
            f"{index_path}: cannot be read as a test index ({error!r}); it must be a JSON list of "
            "{file_name, id, height, width}."
        ) from error
    for what, values in (("id", [row[1] for row in rows]), ("file", [row[0] for row in rows])):
        repeated = sorted(str(value) for value, count in Counter(values).items() if count > 1)
        if repeated:
            raise CellDataError(f"{index_path}: lists a {what} twice ({repeated[0]}); keep one.")
    found = []
    for file_name, img_id, size in rows:
        stem = Path(file_name).with_suffix("")
        if Path(file_name).anchor or ".." in stem.parts:
            raise CellDataError(f"{index_path}: {file_name!r} leaves the data folder; correct it.")
        folder = root / stem
        if not (root / file_name).is_file() and (folder / names.image).is_file():
            files = _list_files(stem.as_posix(), img_id, root, folder, names, size)
        else:
            files = ImageFiles(stem.as_posix(), img_id, root, root / file_name, declared_size=size)
        found.append(files)
    return found


def read_name_list(include: str | Path | Sequence[str]) -> list[str]:
    """Read the names of the images to include.

    Args:
        include: Names, or a text file with one a line ('#' starts a comment).

    Returns:
        The names without a trailing slash.

    Raises:
        CellDataError: If the file cannot be read or lists nothing.
    """
    if not isinstance(include, (str, Path)):
        return [_clean_name(str(name)) for name in include]
    try:
        lines = read_text(include, "utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CellDataError(
            f"{include}: cannot be read ({error}); include takes a list of image names or a text "
            "file with one a line."
        ) from error
    names = [_clean_name(line.split("#", 1)[0]) for line in lines]
    names = [name for name in names if name]
    if not names:
        raise CellDataError(f"{include}: lists no image; write one image name a line.")
    return names


def _clean_name(text: str) -> str:
    """Spell an image's name as this module does: with "/", on Windows too, and none at its ends."""
    return text.strip().replace(os.sep, "/").strip("/")


def _declared_size(row: Mapping[str, int]) -> tuple[int, int] | None:
    """Return height and width of a row of a test index, None where they are not given."""
    return (int(row["height"]), int(row["width"])) if "height" in row else None


def _find_included(
    wanted: Sequence[str],
    images: Mapping[str, tuple[Path, Path]],
    roots: Sequence[Path],
    base: Path,
    names: FileNames,
) -> dict[str, tuple[Path, Path]]:
    """Find included images that do not lie directly below a data root."""
    found = {}
    absent = []
    for name in wanted:
        if name in images:
            continue
        folder = base / name
        root = next((root for root in roots if folder.is_relative_to(root)), None)
        if root is None or ".." in Path(name).parts or not (folder / names.image).is_file():
            absent.append(name)
        else:
            found[name] = (root, folder)
    if absent:
        raise CellDataError(
            f"{roots[0]}: {len(absent)} of the included images are not there: "
            f"{', '.join(absent[:10])}; each must be a folder with {names.image}."
        )
    return found


def _list_files(
    name: str,
    img_id: int,
    root: Path,
    folder: Path,
    names: FileNames,
    size: tuple[int, int] | None = None,
) -> ImageFiles:
    """List the label files in an image's folder; raise CellDataError for an unknown one."""
    present = {path.name for path in folder.iterdir() if not is_hidden(path.name)}
    known = {names.image, names.ignore, *(name for files in names.labels for name in files)}
    unknown = sorted(n for n in present - known if Path(n).suffix.lower() in _TIFF_SUFFIXES)
    if unknown and not names.allow_unknown:
        expected = ", ".join(name for files in names.labels for name in files)
        raise CellDataError(
            f"{folder / unknown[0]}: unknown label file, known are {expected}"
            f"{f' and {names.ignore}' if names.ignore else ''}; correct its name, add its class to "
            "metainfo and label_names, or set unknown_labels='ignore'."
        )
    labels = [(k, n) for k, files in enumerate(names.labels) for n in files if n in present]
    return ImageFiles(
        name=name,
        img_id=img_id,
        root=root,
        image=folder / names.image,
        labels=tuple(folder / file for _, file in labels),
        label_classes=tuple(k for k, _ in labels),
        ignore=folder / names.ignore if names.ignore in present and names.ignore else None,
        declared_size=size,
    )


def _explain_folder(folder: Path, names: FileNames) -> str:
    """Say what is wrong with a folder of TIFFs that has no image, or return an empty text."""
    if not _holds_tiffs(folder):
        return ""
    return f"{folder / names.image}: no such file; add the image, or set image_name to its name."


def _holds_tiffs(folder: Path) -> bool:
    """Return whether a folder itself holds TIFFs that are not hidden."""
    return any(
        path.suffix.lower() in _TIFF_SUFFIXES and not is_hidden(path.name)
        for path in folder.iterdir()
    )


def _explain_no_image(roots: Sequence[Path], names: FileNames) -> str:
    """Say where images were looked for, and what the folder looks like instead."""
    message = f"{', '.join(map(str, roots))}: no image found, expected <id>/{names.image}"
    if any((root / names.image).is_file() for root in roots):
        return f"{message}; the folder is an image's own, set data_root to its parent."
    if any(map(_holds_tiffs, roots)):
        return f"{message}; give each image a folder, or list the files in a test_index."
    return f"{message}; put the data there, or correct the path."
