"""Write the annotations of label TIFFs as GeoJSON, one file per image."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cellseg.cli.running import write_result
from cellseg.datasets.cell_dataset import CellDataset
from cellseg.datasets.converters.image_folder import write_tiff
from cellseg.datasets.converters.qupath import IGNORED_CLASS
from cellseg.errors import as_cellseg_error
from cellseg.images import read_stored_image
from cellseg.inference.cells import Cells
from cellseg.inference.writers.geojson import write_geojson


def collect_cells(info: dict[str, Any], classes: tuple[str, ...]) -> Cells:
    """Collect an image's annotations; their score is 1.0."""
    cells = info["instances"]
    labels = [cell["bbox_label"] for cell in cells]
    return Cells(
        boxes=np.array([cell["bbox"] for cell in cells], dtype=np.float32),
        scores=np.ones(len(cells), dtype=np.float32),
        labels=np.where(np.array(labels, dtype=np.int64) < 0, len(classes), labels),
        rles=[cell["mask"] for cell in cells],
        height=info["height"],
        width=info["width"],
        class_names=(*classes, IGNORED_CLASS),
    )


def run(args: argparse.Namespace) -> None:
    """Write one file per image and print what they hold."""
    with as_cellseg_error():
        dataset = CellDataset(
            data_root=args.data_root,
            metainfo={"classes": tuple(args.classes)},
            # Annotations do not depend on how the images are mapped to 8 bit.
            intensity_range={"percentile": (0, 100)},
            bad_images="skip" if args.skip_bad else "error",
            test_mode=True,
            serialize_data=False,
        )
    total = 0
    for info in tqdm(dataset.data_list, unit="image", desc="writing"):
        cells = collect_cells(info, dataset.classes)
        write_geojson(cells, args.out / f"{info['img_name']}.geojson")
        if args.images:
            pixels = read_stored_image(Path(info["img_path"]), args.channel_order)
            write_tiff(args.images / f"{info['img_name']}.tif", pixels)
        total += len(cells)
    write_result(f"{len(dataset.data_list)} images, {total} outlines in {args.out}")
