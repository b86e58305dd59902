"""Turn the 2018 Data Science Bowl's stage1_train into a folder an image.

python tools/dataset_converters/dsb2tiff.py stage1_train data/dsb2018

Run again, it goes on where it stopped.
"""

import argparse
import sys
from pathlib import Path

from cellseg.datasets.converters.command_line import add_out_arguments, run_conversion
from cellseg.datasets.converters.dsb2018 import read_dsb2018
from cellseg.engine.run_config import run_tool


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Turn the 2018 Data Science Bowl's data into label TIFFs."
    )
    parser.add_argument("folder", type=Path, help="folder of <id>/images and <id>/masks")
    add_out_arguments(parser, one_class="nucleus")
    return parser.parse_args()


def main() -> None:
    """Convert and print what became of the data."""
    args = parse_args()
    source = read_dsb2018(args.folder, args.class_name)
    sys.stdout.write(run_conversion(source, args, "DSB2018") + "\n")


if __name__ == "__main__":
    run_tool(main)
