"""A model without a network, and files to send to it."""

from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import tifffile

from .stand_in import BlobFinder, draw_blobs


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
