"""Write the annotations of a folder of label TIFFs as GeoJSON for QuPath, a file an image.

python tools/dataset_converters/tiff2geojson.py DATA_ROOT OUT_FOLDER
python tools/dataset_converters/tiff2geojson.py DATA_ROOT OUT_FOLDER --classes nucleus
python tools/dataset_converters/tiff2geojson.py DATA_ROOT OUT_FOLDER --images IMAGE_FOLDER

Regions to ignore get QuPath's class Ignore*. --images writes each image, too, under a name of its
own and with red first, so that QuPath shows it as it is.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.datasets.converters.command_line import add_order_argument
from cellseg.datasets.converters.image_folder import write_tiff
from cellseg.datasets.converters.qupath import IGNORED_CLASS
from cellseg.engine.run_config import run_tool
from cellseg.images import read_stored_image
from cellseg.inference.cells import Cells
from cellseg.inference.writers.geojson import write_geojson


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Write label TIFFs as GeoJSON for QuPath.")
    parser.add_argument("data_root", type=Path, help="folder of <id>/image.tif with class files")
    parser.add_argument("out", type=Path, help="folder for <id>.geojson")
    parser.add_argument(
        "--classes",
        nargs="+",
        default=list(CellDataset.METAINFO["classes"]),
        help="class names in the order of the class files",
    )
    parser.add_argument("--images", type=Path, help="folder to write each image to, as <id>.tif")
    add_order_argument(parser)
    parser.add_argument("--skip-bad", action="store_true", help="leave out images that are bad")
    return parser.parse_args()


def collect_cells(info: dict[str, Any], classes: tuple[str, ...]) -> Cells:
    """Collect an image's annotations; they are as sure as can be."""
    cells = info["instances"]
    labels = [cell["bbox_label"] for cell in cells]
    return Cells(
        boxes=np.array([cell["bbox"] for cell in cells], dtype=np.float32),
        scores=np.ones(len(cells)),
        labels=np.where(np.array(labels, dtype=np.int64) < 0, len(classes), labels),
        rles=[cell["mask"] for cell in cells],
        height=info["height"],
        width=info["width"],
        class_names=(*classes, IGNORED_CLASS),
    )


def main() -> None:
    """Write a file an image and print what they hold."""
    args = parse_args()
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
    sys.stdout.write(f"{len(dataset.data_list)} images, {total} outlines in {args.out}\n")


if __name__ == "__main__":
    run_tool(main)
