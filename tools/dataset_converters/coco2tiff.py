"""Turn COCO instance annotations into a folder an image.

python tools/dataset_converters/coco2tiff.py instances.json images/ data/mine
python tools/dataset_converters/coco2tiff.py instances.json images/ data/mine \
    --classes tumour immune --class-map Tumor=tumour "T cell=immune" Debris=ignore

Crowds become ignore.tif. Run again, it goes on where it stopped.
"""

import argparse
import sys
from pathlib import Path

from cellseg.datasets.converters.coco import read_coco
from cellseg.datasets.converters.command_line import (
    add_order_argument,
    add_out_arguments,
    run_conversion,
)
from cellseg.engine.run_config import run_tool


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Turn COCO instance annotations into label TIFFs.")
    parser.add_argument("annotations", type=Path, help="COCO JSON file")
    parser.add_argument("images", type=Path, help="folder that its file names are relative to")
    add_out_arguments(parser)
    add_order_argument(parser)
    return parser.parse_args()


def main() -> None:
    """Convert and print what became of the data."""
    args = parse_args()
    source = read_coco(args.annotations, args.images, args.channel_order)
    sys.stdout.write(run_conversion(source, args, "COCO") + "\n")


if __name__ == "__main__":
    run_tool(main)
