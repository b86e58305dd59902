"""Convert the 2018 Data Science Bowl's stage1_train into label TIFFs, one folder per image.

cellseg convert dsb2018 stage1_train data/dsb2018

Run again, it continues where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.converters.arguments import add_out_arguments
from cellseg.cli.running import write_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the format."""
    parser.add_argument("folder", type=Path, help="folder of <id>/images and <id>/masks")
    add_out_arguments(parser, one_class="nucleus")


def main(args: argparse.Namespace) -> None:
    """Convert and print what became of the data."""
    from cellseg.cli.tasks.convert import run_conversion
    from cellseg.formats.dsb2018 import read_dsb2018

    source = read_dsb2018(args.folder, args.class_name)
    write_result(run_conversion(source, args, "DSB2018"))
