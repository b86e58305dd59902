"""Turn folders of images and label maps, as of Cellpose and StarDist, into a folder an image.

python tools/dataset_converters/labels2tiff.py cellpose_folder/ data/mine
python tools/dataset_converters/labels2tiff.py stardist/images data/mine --labels stardist/masks

Label maps are <image>_masks.tif or .png beside the images, or bear the images' names in a folder of
their own. Run again, it goes on where it stopped.
"""

import argparse
import sys
from pathlib import Path

from cellseg.datasets.converters.command_line import (
    add_order_argument,
    add_out_arguments,
    run_conversion,
)
from cellseg.datasets.converters.label_folders import read_label_folders
from cellseg.engine.run_config import run_tool


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Turn images with label maps into one folder an image."
    )
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--labels", type=Path, help="folder of label maps (default: the images')")
    add_out_arguments(parser, one_class="cell")
    add_order_argument(parser)
    return parser.parse_args()


def main() -> None:
    """Convert and print what became of the data."""
    args = parse_args()
    source = read_label_folders(args.images, args.labels, args.class_name, args.channel_order)
    sys.stdout.write(run_conversion(source, args, "label maps") + "\n")


if __name__ == "__main__":
    run_tool(main)
