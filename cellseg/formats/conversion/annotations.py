"""What every format is turned into: images that, when asked, give pixels and drawable cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray

from cellseg.errors import CellsegError
from cellseg.structures.runs import Crop


class UnusableAnnotationError(CellsegError):
    """Say in a few words why one annotation cannot become a cell; equal reasons are counted."""


class Drawing(NamedTuple):
    """An annotation in pixels, and what had to be changed to draw it, in a few words each."""

    crop: Crop
    changes: tuple[str, ...] = ()


class Annotation(NamedTuple):
    """One cell, or region to ignore, as a format describes it.

    Attributes:
        label: How a person finds it in the data, such as 'annotation 17'.
        class_name: Its class as the data names it.
        draw: Takes height and width of the image in pixels and returns the mask; raises
            UnusableAnnotationError where there is none.
        is_ignored: Whether the data itself marks it as a region to ignore.
        left_out: Why it becomes no cell, in words that are the same for the same cause; it may
            still become a region to ignore. Empty for a cell.
    """

    label: str
    class_name: str
    draw: Callable[[int, int], Drawing]
    is_ignored: bool = False
    left_out: str = ""


LossKind = Literal["image", "cell", "change", "file", "warning"]


class Loss(NamedTuple):
    """Something of the data that did not come through as it was.

    Attributes:
        kind: 'image' or 'cell' (or region) that is left out, 'change' to one that is kept,
            'file' that is no part of the data, which is counted but never an error, or 'warning'
            of something that is kept but is probably not what it should be.
        image: The image it belongs to.
        label: The annotation, as `Annotation.label`; empty for an image.
        class_name: Its class; may be empty.
        reason: Why, in words that are the same for the same cause.
        pixels: How many pixels it cost, where that is known.
        hint: What helps in this case only, such as names to choose from.
    """

    kind: LossKind
    image: str
    label: str
    class_name: str
    reason: str
    pixels: int = 0
    hint: str = ""


@dataclass(frozen=True)
class AnnotatedImage:
    """One image of the data, not read yet.

    Attributes:
        name: Name of its folder in the layout, from `names.name_folder`.
        origin: The file it comes from, for messages.
        load: Reads it: pixels (H, W) or (H, W, 3) in R, G, B, of the file's own type, and its
            annotations. Raises CellDataError where the image cannot be used.
        fingerprint: Returns a text that changes when what `load` reads does, such as that of
            `fingerprints.fingerprint_files`; asked on every run, so it must be quick.
    """

    name: str
    origin: str
    load: Callable[[], tuple[NDArray[Any], Iterable[Annotation]]]
    fingerprint: Callable[[], str]


@dataclass(frozen=True)
class Source:
    """A data set in another format.

    Attributes:
        images: Its images; only one at a time is ever loaded.
        found_classes: Class names that its annotations use, as the data writes them.
        default_classes: Class names to write unless the person says otherwise, in order; those
            found when None.
        ignored_classes: Names whose annotations are regions to ignore.
        losses: What was left out before any image was read.
        unreadable: Losses of images whose annotations could not be read for their classes.
        pixel_size_um: Side of a pixel in micrometers, where the data says it and it is the same in
            all images.
    """

    images: Sequence[AnnotatedImage]
    found_classes: Sequence[str]
    default_classes: Sequence[str] | None = None
    ignored_classes: frozenset[str] = frozenset()
    losses: list[Loss] = field(default_factory=list)
    unreadable: list[Loss] = field(default_factory=list)
    pixel_size_um: float | None = None
