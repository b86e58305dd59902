"""Match images with the files that annotate them, by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from cellseg.errors import CellDataError
from cellseg.file_listing import list_files
from cellseg.formats.conversion.annotations import Loss
from cellseg.images.kinds import IMAGE_SUFFIXES

LAYOUT_IMAGE = "image.tif"
"""The image in a folder of this project's layout; the other files there are its label maps."""


_NO_ANNOTATIONS = "the image has no annotation file"
_NO_IMAGE = "the annotation file has no image"
_PARTNERS = {_NO_ANNOTATIONS: _NO_IMAGE, _NO_IMAGE: _NO_ANNOTATIONS}
_LEAST_SIMILARITY = 0.5


class ImagePair(NamedTuple):
    """An image and the file that annotates it."""

    image: Path
    annotations: Path


def pair_files(
    images: Path, annotations: Path, endings: Sequence[str], extras: re.Pattern[str] | None = None
) -> tuple[list[ImagePair], list[Loss]]:
    """Match images with their annotation files.

    `a.png` is annotated by `a.png` + ending or by `a` + ending, for the first ending that has a
    file. Where several images share a name (an SVS and a TIFF of the same patch), the first suffix
    of IMAGE_SUFFIXES is taken; the others are the same image and are not mentioned. The images may
    lie in this project's layout: `a/image.tif` is annotated by `a` + ending, too.

    Args:
        images: Folder of images, at any depth; below it and below `annotations` the paths agree.
        annotations: Folder of annotation files; may be the same one.
        endings: How their names may end, the preferred one first, such as ('_masks.tif',).
        extras: What a program adds, in lower case, to an image's name for files that are neither
            image nor annotation: '_flows[.]tif' for `a_flows.tif` beside `a.png`.

    Returns:
        The pairs in order of path, and a loss for each image or annotation file without partner,
        and for each of the extras.

    Raises:
        CellDataError: If a folder is absent, or there is no annotation file at all.
    """
    marks = _find_marks(images, annotations, endings)
    pictures = _list_images(images, set(marks.values()))
    besides = _find_extras(images, annotations, pictures, extras) if extras else {}
    marks = {name: path for name, path in marks.items() if path not in besides}
    taken = {_name_bases(image, images)[1] for image in pictures}
    pairs, losses = [], []
    for image in pictures:
        if image in besides or (images != annotations and annotations in image.parents):
            continue
        bases = _name_bases(image, images, taken)
        names = (f"{base}{end}" for end in endings for base in bases)
        own = [marks.pop(name) for name in names if name in marks]
        if own:
            pairs.append(ImagePair(image, own[0]))
        else:
            losses.append(_lose(image, _NO_ANNOTATIONS))
        losses += [_lose(mark, "the image has another annotation file, too") for mark in own[1:]]
    losses += [_lose(mark, _NO_IMAGE) for mark in marks.values()]
    losses = _name_nearest(losses)
    losses += [_lose(path, "is neither an image nor its annotations", "file") for path in besides]
    return pairs, losses


def _find_marks(images: Path, annotations: Path, endings: Sequence[str]) -> dict[str, Path]:
    """Find the annotation files, by name in lower case; raise CellDataError if there is none."""
    for folder in (images, annotations):
        if not folder.is_dir():
            raise CellDataError(f"{folder}: no such folder; correct the path.")
    marks = {
        path.relative_to(annotations).as_posix().lower(): path
        for path in list_files(annotations)
        if path.name.lower().endswith(tuple(endings))
    }
    if not marks:
        raise CellDataError(
            f"{annotations}: holds no file that ends in {' or '.join(endings)}; give the folder of "
            "the annotations."
        )
    return marks


def _name_bases(image: Path, images: Path, taken: Collection[str] = ()) -> list[str]:
    """List what an image's annotation file may be called before its ending, the likeliest first.

    The first two are the image's path, with and without its suffix; a shorter one is not used where
    it is taken, the name of another image.
    """
    whole = image.relative_to(images).as_posix().lower()
    bases = [whole, whole.removesuffix(image.suffix.lower())]
    bases += [base for base in _shorten(bases[1]) if base not in taken]
    if image.name == LAYOUT_IMAGE:
        bases.append(image.parent.relative_to(images).as_posix().lower())
    return bases


def _shorten(base: str) -> list[str]:
    """Return a name without the '.ome' before the suffix of OME-TIFFs, where it has that."""
    return [base.removesuffix(".ome")] if base.endswith(".ome") else []


def _name_nearest(losses: list[Loss]) -> list[Loss]:
    """Add to each file without partner the nearest name among those that it could belong to."""
    sides: dict[str, list[str]] = {reason: [] for reason in _PARTNERS}
    for loss in losses:
        if loss.reason in sides:
            sides[loss.reason].append(Path(loss.image).name)
    named = []
    for loss in losses:
        others = sides.get(_PARTNERS.get(loss.reason, ""), [])
        near = find_nearest(Path(loss.image).name, others)
        named.append(loss._replace(hint=f"; the nearest is {near}" if near else ""))
    return named


def find_nearest(name: str, others: Iterable[str]) -> str:
    """Return the most similar of other file names, compared without suffixes; empty if none is."""
    stems = {_stem(other): other for other in others}
    near = difflib.get_close_matches(_stem(name), stems, n=1, cutoff=_LEAST_SIMILARITY)
    return stems[near[0]] if near else ""


def _stem(name: str) -> str:
    """Return a file name in lower case up to its first suffix that is not a number."""
    return re.sub(r"(\.[a-z_]\w*)+$", "", name.lower())


def _lose(path: Path, reason: str, kind: Literal["image", "file"] = "image") -> Loss:
    """Say that a file is left out."""
    return Loss(kind, str(path), "", "", reason)


def _find_extras(
    images: Path, annotations: Path, pictures: Sequence[Path], extras: re.Pattern[str]
) -> dict[Path, None]:
    """Find the files, in order, whose name is that of another image and one of the extras."""
    stems = {picture.stem.lower() for picture in pictures}
    found: dict[Path, None] = {}
    for path in [*list_files(images), *list_files(annotations)]:
        name = path.name.lower()
        places = [match.start() for match in re.finditer("_", name)]
        if any(name[:place] in stems and extras.fullmatch(name, place) for place in places):
            found[path] = None
    return found


def _list_images(folder: Path, marks: set[Path]) -> list[Path]:
    """List the images below a folder, one of each name."""
    chosen: dict[Path, Path] = {}
    for path in list_files(folder):
        suffix = path.suffix.lower()
        is_label_map = path.name != LAYOUT_IMAGE and (path.parent / LAYOUT_IMAGE).is_file()
        if suffix not in IMAGE_SUFFIXES or path in marks or is_label_map:
            continue
        rival = chosen.get(path.with_suffix(""))
        if rival is None or IMAGE_SUFFIXES.index(suffix) < IMAGE_SUFFIXES.index(
            rival.suffix.lower()
        ):
            chosen[path.with_suffix("")] = path
    return list(chosen.values())
