"""Convert images with label maps, as of Cellpose and StarDist, into one folder per image.

cellseg convert labels cellpose_folder/ data/mine
cellseg convert labels stardist/images data/mine --labels stardist/masks

Label maps are <image>_masks.tif or .png beside the images, or have the images' names in a folder of
their own. Run again, it continues where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.converters.arguments import add_order_argument, add_out_arguments
from cellseg.cli.running import write_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the format."""
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--labels", type=Path, help="folder of label maps (default: the images')")
    add_out_arguments(parser, one_class="cell")
    add_order_argument(parser)


def main(args: argparse.Namespace) -> None:
    """Convert and print what became of the data."""
    from cellseg.cli.tasks.convert import run_conversion
    from cellseg.formats.label_folders import read_label_folders

    source = read_label_folders(args.images, args.labels, args.class_name, args.channel_order)
    write_result(run_conversion(source, args, "label maps"))
