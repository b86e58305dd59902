"""Small data sets drawn on disk, for the tests of reading them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import tifffile


@pytest.fixture(autouse=True)
def _own_user_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """Keep the tests out of the user's cache folder, and quick."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("xdg")))
    # Building a data set ends with a garbage collection, which takes most of a small test's time.
    monkeypatch.setattr("mmengine.dataset.base_dataset.gc.collect", lambda: 0)


@pytest.fixture
def draw_image() -> Callable[..., Path]:
    """Return a function that writes `<id>/image.tif` and label maps given as {name: (H, W)}."""

    def draw(
        root: Path,
        name: str,
        labels: Mapping[str, np.ndarray] | None = None,
        shape: tuple[int, int] = (12, 16),
    ) -> Path:
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        tifffile.imwrite(folder / "image.tif", pixels, compression="lzw", photometric="rgb")
        for file_name, label_map in (labels or {}).items():
            tifffile.imwrite(folder / file_name, label_map, compression="lzw")
        return folder

    return draw


@pytest.fixture
def label_map() -> np.ndarray:
    """Return a (12, 16) float64 label map of two cells, one of them in two pieces."""
    drawn = np.zeros((12, 16))
    drawn[1:4, 2:6] = 7
    drawn[8:10, 10:15] = 70_000
    drawn[11, 0] = 7
    return drawn
