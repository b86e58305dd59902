"""Convert a fold of PanNuke into label TIFFs, one folder per patch.

cellseg convert pannuke "Fold 1" data/pannuke_fold1

Run again, it continues where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.converters.arguments import add_out_arguments
from cellseg.cli.running import write_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the format."""
    parser.add_argument("folder", type=Path, help="folder with images.npy and masks.npy below it")
    add_out_arguments(parser)


def main(args: argparse.Namespace) -> None:
    """Convert and print what became of the data."""
    from cellseg.cli.tasks.convert import run_conversion
    from cellseg.formats.pannuke import read_pannuke

    source = read_pannuke(args.folder)
    write_result(run_conversion(source, args, "PanNuke"))
