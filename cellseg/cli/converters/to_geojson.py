"""Write the annotations of a folder of label TIFFs as GeoJSON for QuPath, one file per image.

cellseg convert to-geojson DATA_ROOT OUT_FOLDER
cellseg convert to-geojson DATA_ROOT OUT_FOLDER --classes nucleus
cellseg convert to-geojson DATA_ROOT OUT_FOLDER --images IMAGE_FOLDER

Ignored regions get QuPath's class Ignore*. --images writes each image, too, under a name of its own
and in RGB order, so that QuPath shows it as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.converters.arguments import add_label_arguments, add_order_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the format."""
    add_label_arguments(parser, "folder for <id>.geojson")
    parser.add_argument("--images", type=Path, help="folder to write each image to, as <id>.tif")
    add_order_argument(parser)


def main(args: argparse.Namespace) -> None:
    """Write the files and print what they hold."""
    from cellseg.cli.tasks import to_geojson

    to_geojson.run(args)
