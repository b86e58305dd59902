"""Write the annotations of label TIFFs as GeoJSON, one file per image."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cellseg.cli.running import write_result
from cellseg.datasets.cell_dataset import CellDataset
from cellseg.errors import as_cellseg_error
from cellseg.formats.conversion.image_folder import write_tiff
from cellseg.formats.geojson import IGNORED_CLASS, write_geojson
from cellseg.images import read_stored_image
from cellseg.palette import IGNORED_COLOR, choose_palette
from cellseg.structures.cells import Cells


def collect_cells(info: dict[str, Any], classes: tuple[str, ...]) -> Cells:
    """Collect an image's annotations; their score is 1.0."""
    names = (*classes, IGNORED_CLASS)
    cells = Cells.from_instances(info["instances"], info["height"], info["width"], names)
    labels = np.where(cells.labels < 0, len(classes), cells.labels)
    return replace(cells, labels=labels, scores=np.ones(len(cells), dtype=np.float32))


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
    palette = [*choose_palette(len(dataset.classes)), IGNORED_COLOR]
    total = 0
    for info in tqdm(dataset.data_list, unit="image", desc="writing", disable=None):
        cells = collect_cells(info, dataset.classes)
        write_geojson(cells, args.out / f"{info['img_name']}.geojson", palette=palette)
        if args.images:
            pixels = read_stored_image(Path(info["img_path"]), args.channel_order)
            write_tiff(args.images / f"{info['img_name']}.tif", pixels)
        total += len(cells)
    write_result(f"{len(dataset.data_list)} images, {total} outlines in {args.out}")
