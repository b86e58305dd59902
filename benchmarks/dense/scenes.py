"""Drawn scenes: how many cells on how many pixels, the same for both sides of a comparison."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.datasets.synthetic import draw_cell_image, write_sample


@dataclass(frozen=True)
class DrawnScene:
    """What one measurement works on.

    Attributes:
        cells: Cells per image.
        size_px: Height and width of the images.
        images: How many images.
        folder: Where drawn images are kept between runs.
    """

    cells: int
    size_px: int
    images: int
    folder: Path

    @property
    def root(self) -> Path:
        """The data root of these images, drawn on first use."""
        return self.folder / f"{self.size_px}px_{self.cells}_cells_{self.images}_images"


def draw_scene(scene: DrawnScene) -> Path:
    """Draw the images that are not there yet, each from its own seed.

    Returns:
        The data root, in the layout that CellDataset reads.
    """
    for number in range(scene.images):
        folder = scene.root / f"{number:04d}"
        if (folder / "image.tif").exists():
            continue
        rng = np.random.default_rng([scene.cells, scene.size_px, number])
        image_bgr, label_maps = draw_cell_image(rng, scene.size_px, scene.size_px, scene.cells)
        if sum(len(np.unique(layer)) - 1 for layer in label_maps.values()) != scene.cells:
            raise RuntimeError(f"{scene.cells} cells do not fit on {scene.size_px} pixels.")
        write_sample(folder, image_bgr, label_maps)
    return scene.root


def read_entries(scene: DrawnScene) -> list[dict[str, Any]]:
    """Read the data set entries of a scene, one dict per image."""
    dataset = CellDataset(data_root=draw_scene(scene), channel_order="bgr", pipeline=[])
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def remove_cache(folder: Path) -> Path:
    """Empty a folder for a data set's cache, so that the next start is a first start."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
