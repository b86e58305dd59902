"""Turn a fold of PanNuke into a folder a patch.

python tools/dataset_converters/pannuke2tiff.py "Fold 1" data/pannuke_fold1

Run again, it goes on where it stopped.
"""

import argparse
import sys
from pathlib import Path

from cellseg.datasets.converters.command_line import add_out_arguments, run_conversion
from cellseg.datasets.converters.pannuke import read_pannuke
from cellseg.engine.run_config import run_tool


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Turn a fold of PanNuke into label TIFFs.")
    parser.add_argument("folder", type=Path, help="folder with images.npy and masks.npy below it")
    add_out_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Convert and print what became of the data."""
    args = parse_args()
    source = read_pannuke(args.folder)
    sys.stdout.write(run_conversion(source, args, "PanNuke") + "\n")


if __name__ == "__main__":
    run_tool(main)
