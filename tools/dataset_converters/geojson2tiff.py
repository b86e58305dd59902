"""Turn QuPath's GeoJSON files into a folder an image.

python tools/dataset_converters/geojson2tiff.py images/ geojson/ data/mine
python tools/dataset_converters/geojson2tiff.py images/ geojson/ data/mine \
    --classes tumour immune --class-map Tumor=tumour "Immune cells=immune" Tissue=drop

Objects of the class Ignore* become ignore.tif. Run again, it goes on where it stopped.
"""

import argparse
import sys
from pathlib import Path

from cellseg.datasets.converters.command_line import (
    add_order_argument,
    add_out_arguments,
    run_conversion,
)
from cellseg.datasets.converters.qupath import read_qupath
from cellseg.engine.run_config import run_tool


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Turn QuPath's GeoJSON files into label TIFFs.")
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("annotations", type=Path, help="folder of <image>.geojson")
    parser.add_argument(
        "--nuclei", action="store_true", help="take the nucleus of a cell, not the whole cell"
    )
    add_out_arguments(parser)
    add_order_argument(parser)
    return parser.parse_args()


def main() -> None:
    """Convert and print what became of the data."""
    args = parse_args()
    source = read_qupath(args.images, args.annotations, args.channel_order, args.nuclei)
    sys.stdout.write(run_conversion(source, args, "GeoJSON") + "\n")


if __name__ == "__main__":
    run_tool(main)
