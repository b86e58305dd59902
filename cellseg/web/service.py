"""What the page does, without the page: take an image, find its cells, show them again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mmengine.logging import print_log

from cellseg.errors import CellsegError
from cellseg.images import ArraySource, ImageSource
from cellseg.inference.scale_choice import ScaleChoice
from cellseg.inference.tile_plan import TilePlan
from cellseg.palette import Color
from cellseg.structures.cells import Cells
from cellseg.web.found_cells import FoundCells
from cellseg.web.sessions import PageClosedError, Session, SessionStore, Upload
from cellseg.web.uploads import UploadLimits, check_upload, read_upload

Progress = Callable[[int, int], None]


class CellFinder(Protocol):
    """What the service asks of a `Predictor`."""

    class_names: tuple[str, ...]
    palette: list[Color]
    image_format: dict
    score_thr: float

    @property
    def model_name(self) -> str:
        """What to call the model."""

    def __call__(
        self,
        image: ImageSource,
        progress: Callable[[int, int], None] | None = None,
        choice: ScaleChoice | None = None,
    ) -> Cells:
        """Find the cells of an image; progress gets the tiles just done."""

    def choose_scale(self, source: ImageSource) -> ScaleChoice:
        """Choose the scale of an image."""

    def plan_tiles(self, size: ImageSource, choice: ScaleChoice | None = None) -> TilePlan:
        """Plan the tiles of an image."""


class SupersededError(Exception):
    """Cancel this result: it is no longer needed."""


class CellService:
    """Find cells for many pages with one model, for one page at a time.

    Args:
        finder: The model; its score threshold is the lowest that a page can ask for.
        store: The open pages.
        limits: How large images may be.
    """

    def __init__(self, finder: CellFinder, store: SessionStore, limits: UploadLimits) -> None:
        """Keep the parts; see the class."""
        self.finder = finder
        self.store = store
        self.limits = limits
        self._one_at_a_time = threading.Lock()

    def receive(self, key: str, path: Path) -> Upload:
        """Take a file for a page, in place of the one it had, if it can be an image.

        Args:
            key: The page.
            path: The file, under its sender's name.

        Returns:
            The upload, which `find` looks at.

        Raises:
            CellsegError: If the file is refused.
        """
        session = self.store.open(key)
        session.forget()
        try:
            suffix = check_upload(path, path.name, self.limits)
            return session.take(path, suffix)
        except OSError as error:
            raise CellsegError(f"{path.name} did not arrive; drop it again.") from error

    def find(self, key: str, progress: Progress | None = None) -> FoundCells | None:
        """Find the cells of the image that a page sent last.

        Args:
            key: The page.
            progress: Called with the tiles done so far and those there are.

        Returns:
            The cells down to the lowest score; None if there is nothing to look at.

        Raises:
            CellsegError: If the image cannot be read or the network fails.
            PageClosedError: If the page was closed meanwhile.
            SupersededError: If it sent another image meanwhile.
        """
        session = self.store.get(key)
        upload = session.upload if session is not None else None
        if session is None or upload is None:
            return None
        with self._one_at_a_time:
            self._check_wanted(session, upload)
            try:
                found = self._find(session, upload, progress)
            except (CellsegError, SupersededError):
                raise
            except Exception as error:
                self._check_wanted(session, upload)  # its file is gone with the page
                print_log(f"{upload.name}: {error!r}", "current", logging.ERROR)
                raise CellsegError(
                    f"{upload.name} could not be processed ({type(error).__name__}: {error}); try "
                    "a smaller image, or tools/predict.py."
                ) from error
        self._check_wanted(session, upload)
        session.found = found
        return found

    def _find(self, session: Session, upload: Upload, progress: Progress | None) -> FoundCells:
        """Read an image, find its cells and measure them."""
        image = read_upload(upload.path, upload.name, self.limits, self.finder.image_format)
        source = ArraySource(image.pixels, image.pixel_size_um)
        choice = self.finder.choose_scale(source)
        total, done = len(self.finder.plan_tiles(source, choice).tiles), 0

        def report(tiles: int, _: int) -> None:
            nonlocal done
            done += tiles
            self._check_wanted(session, upload)
            if progress is not None:
                progress(done, total)

        if progress is not None:
            progress(0, total)
        cells = self.finder(source, report, choice)
        print_log(f"{upload.name}: {choice.describe()}", "current")
        return FoundCells.measured(upload.stem, image, cells, self.finder.palette)

    def _check_wanted(self, session: Session, upload: Upload) -> None:
        """Raise an error if a page is closed, or waits for another image by now."""
        if session.closed:
            raise PageClosedError(self.store.explain_closing())
        if session.upload is not upload:
            raise SupersededError
