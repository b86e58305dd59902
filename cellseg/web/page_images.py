"""The images of the page: where each lies, its tiles and its cells, open or not."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellseg.errors import CellDataError
from cellseg.images import ImageSource, open_image
from cellseg.inference.scale_choice import ScaleChoice
from cellseg.web.cell_edits import Canvas
from cellseg.web.earlier_cells import find_earlier_cells
from cellseg.web.edit_log import EditLog, EditStep
from cellseg.web.tile_pyramid import TilePyramid

LOG_NAME = "edits.jsonl"
_NAME_LENGTH = 80
_MOST_OPEN = 8


@dataclass(eq=False)
class OpenImage:
    """What is in memory of an image that somebody looks at.

    Attributes:
        pyramid: Its tiles.
        log: Its cells.
        pixel_size_um: Side of a pixel in micrometers, where known.
        note: Where that comes from, or why it is not known.
        channels: What the file stores.
    """

    pyramid: TilePyramid
    log: EditLog
    pixel_size_um: float | None
    note: str
    channels: tuple[str, ...]

    def close(self) -> None:
        """Close the file."""
        self.pyramid.close()


@dataclass(eq=False)
class PageImage:
    """One image.

    Attributes:
        key: Its name in addresses.
        name: What people call it.
        path: The file.
        folder: Where its corrections are kept.
        is_given: Whether it was given at start, and not uploaded.
        choices: The scale that was chosen for it, by the model's name.
        lock: Held while its cells change.
        opened: What is in memory, None where it is closed.
    """

    key: str
    name: str
    path: Path
    folder: Path
    is_given: bool = False
    choices: dict[str, ScaleChoice] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    opened: OpenImage | None = None
    removed: bool = False

    @property
    def stem(self) -> str:
        """The name without its suffix, fit for a file name everywhere."""
        return make_stem(self.name)

    def open(self, image_format: Mapping[str, Any], class_names: tuple[str, ...]) -> OpenImage:
        """Open the file and read its corrections, unless that is done.

        Raises:
            CellDataError: If either cannot be used; the message names the image as people call it.
        """
        with self.lock:
            if self.removed:
                raise CellDataError(f"{self.name} was removed; upload it again.")
            if self.opened is None:
                try:
                    self.opened = self._open(image_format, class_names)
                except CellDataError as error:
                    words = str(error).replace(str(self.path), self.name)
                    raise CellDataError(words.replace(str(self.folder), "corrections")) from error
            return self.opened

    def _open(self, image_format: Mapping[str, Any], class_names: tuple[str, ...]) -> OpenImage:
        """Open the file and the log."""
        source = open_image(self.path, image_format)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            is_new = not (self.folder / LOG_NAME).exists()
            log = EditLog.open(self.folder / LOG_NAME, (source.width, source.height))
            if is_new and self.is_given:
                self._take_earlier(log, source, class_names)
        except BaseException:
            source.close()
            raise

        def open_level(factor: float) -> ImageSource:
            return open_image(self.path, image_format, mpp=factor, pixel_size_um=1.0)

        pyramid = TilePyramid(source, open_level)
        return OpenImage(
            pyramid, log, source.pixel_size_um, source.pixel_size_note, source.channels
        )

    def _take_earlier(
        self, log: EditLog, source: ImageSource, class_names: tuple[str, ...]
    ) -> None:
        """Take the cells that an earlier `cellseg predict` has left beside the image."""
        found = find_earlier_cells(self.path, self.name, source, class_names)
        if found is not None and found.rings:
            added = log.new_cells(found.rings, found.labels, found.scores)
            log.apply(EditStep("earlier prediction", added=added))

    def canvas(self, num_classes: int) -> Canvas:
        """Describe the image to those who edit it; it is open."""
        assert self.opened is not None
        return Canvas(self.opened.pyramid.width, self.opened.pyramid.height, num_classes)

    def has_corrections(self) -> bool:
        """Return whether a person has changed anything, as far as the log on disk tells."""
        with suppress(OSError):
            text = (self.folder / LOG_NAME).read_bytes()
            lines = text.count(b"\n") - 1
            return lines > text.count(b'\n{"do":"predict"')
        return False

    def close(self) -> None:
        """Close the file; what is on disk stays."""
        with self.lock:
            if self.opened is not None:
                self.opened.close()
                self.opened = None

    def remove(self) -> None:
        """Close the image and remove all that is kept of it; a given file itself stays."""
        with self.lock:
            self.removed = True
            self.close()
            shutil.rmtree(self.folder, ignore_errors=True)


class OpenImages:
    """Keep few images open: those that were viewed last.

    Args:
        image_format: How TIFFs store colors and intensities.
        class_names: The classes of the model.
    """

    def __init__(self, image_format: Mapping[str, Any], class_names: tuple[str, ...]) -> None:
        """Start with none; see the class."""
        self._image_format, self._class_names = image_format, class_names
        self._resting: OrderedDict[int, PageImage] = OrderedDict()
        self._lock = threading.Lock()
        self.busy: set[PageImage] = set()

    def open(self, image: PageImage) -> OpenImage:
        """Open an image, and close the one viewed longest ago."""
        opened = image.open(self._image_format, self._class_names)
        with self._lock:
            self._resting[id(image)] = image
            self._resting.move_to_end(id(image))
            idle = [key for key, other in self._resting.items() if other not in self.busy]
            resting = [self._resting.pop(key) for key in idle[: max(len(idle) - _MOST_OPEN, 0)]]
        for other in resting:
            other.close()
        return opened

    @contextmanager
    def hold(self, image: PageImage) -> Iterator[OpenImage]:
        """Open an image and keep it open, and its cells as they are, for as long as this lasts."""
        self.open(image)
        with image.lock:
            yield image.open(self._image_format, self._class_names)

    def close_all(self) -> None:
        """Close all images."""
        with self._lock:
            images = list(self._resting.values())
            self._resting.clear()
        for image in images:
            image.close()


def make_stem(name: str) -> str:
    """Make a name fit for a file name everywhere, without its suffix."""
    plain = re.sub(r"[^\w.-]+", "_", Path(name.replace("\\", "/")).stem).strip("._")
    return plain[:_NAME_LENGTH] or "image"


def make_printable(name: str) -> str:
    """Replace unprintable characters, such as those that control a terminal, with underscores."""
    return "".join(letter if letter.isprintable() else "_" for letter in name)


def list_given(paths: Mapping[str, Path], keep: Path) -> list[PageImage]:
    """Make the images that were given at start.

    Args:
        paths: The files by their names.
        keep: Folder of corrections; each image has one there that its path names.

    Returns:
        The images, numbered.
    """
    images = []
    for index, (name, path) in enumerate(paths.items()):
        digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
        folder = keep / f"{make_stem(name)}-{digest}"
        shown = make_printable(name)
        images.append(PageImage(f"g{index}", shown, path, folder, is_given=True))
    return images
