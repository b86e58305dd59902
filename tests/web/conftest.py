"""A model without a network, and files to send to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest
import tifffile

from cellseg.web.page_images import PageImage
from tests.report.browser import Page, find_chromium, launch

from .stand_in import CLASS_NAMES, BlobFinder, draw_blobs, edit

if TYPE_CHECKING:
    from .serving import Served

BROWSER_LIMIT_S = 580


@pytest.fixture
def finder() -> BlobFinder:
    """Return a finder of dark blobs."""
    return BlobFinder()


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that draws an image file with a number of blobs."""

    def make(count: int, name: str = "slide 1.png", size: int = 96) -> Path:
        path = tmp_path / name
        image = draw_blobs(count, size)
        if path.suffix in (".tif", ".tiff"):
            tifffile.imwrite(path, image, photometric="rgb", compression="lzw")
        else:
            cv2.imwrite(str(path), image[..., ::-1])
        return path

    return make


@pytest.fixture
def image(draw: Callable[..., Path], tmp_path: Path) -> PageImage:
    """Return an image of 96 px with two cells: one is of the second class."""
    image = PageImage("k", "a.png", draw(4, "a.png"), tmp_path / "folder")
    image.open({}, CLASS_NAMES)
    for label, x in ((0, 10), (1, 40)):
        points = [[x, 10], [x + 10, 10], [x + 10, 20], [x, 20]]
        edit(image, do="draw", label=label, points=points)
    return image


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve one page, with one image given at start, for all tests of a file."""
    from .serving import serve_page  # needs the extra web

    folder = tmp_path_factory.mktemp("web")
    path = folder / "given.tif"
    tifffile.imwrite(
        path, draw_blobs(5), photometric="rgb", resolution=(4e4, 4e4), resolutionunit="CENTIMETER"
    )
    with serve_page(folder, given=[path]) as page:
        yield page


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Page]:
    """Start a browser that saves downloads in tmp_path/downloads, or skip."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    (tmp_path / "downloads").mkdir()
    with launch(chromium, tmp_path / "profile", BROWSER_LIMIT_S) as page:
        page.keep_downloads(tmp_path / "downloads")
        yield page
