"""Turn MoNuSAC's original images and XML files into a folder an image.

python tools/dataset_converters/monusac2tiff.py MoNuSAC_images_and_annotations data/monusac
python tools/dataset_converters/monusac2tiff.py MoNuSeg data/monuseg \
    --classes nucleus --class-map unnamed=nucleus

Ambiguous regions become ignore.tif. Run again, it goes on where it stopped.
"""

import argparse
import sys
from pathlib import Path

from cellseg.datasets.converters.command_line import (
    add_order_argument,
    add_out_arguments,
    run_conversion,
)
from cellseg.datasets.converters.monusac import read_monusac
from cellseg.engine.run_config import run_tool


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Turn MoNuSAC's original release into label TIFFs."
    )
    parser.add_argument("folder", type=Path, help="folder of <name>.svs or .tif and <name>.xml")
    add_out_arguments(parser)
    add_order_argument(parser)
    return parser.parse_args()


def main() -> None:
    """Convert and print what became of the data."""
    args = parse_args()
    source = read_monusac(args.folder, args.channel_order)
    sys.stdout.write(run_conversion(source, args, "MoNuSAC") + "\n")


if __name__ == "__main__":
    run_tool(main)
