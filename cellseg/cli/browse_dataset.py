"""Draw the data as the network gets it, after augmentation, with the cells outlined.

    cellseg browse-dataset CONFIG SAVE_DIR
    cellseg browse-dataset CONFIG SAVE_DIR --count 40 --columns 4 --seed 1

Writes page_1.png, page_2.png, ...: cells outlined in the colors of their classes, with their ids
in the label files where there is room, and counts.
"""

from __future__ import annotations

import argparse

from cellseg.cli.arguments import add_config_options, add_show_argument, add_split_argument
from cellseg.config_files import find_config
from cellseg.errors import CellsegError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the pages."""
    parser.add_argument("config", help="config file, or a name that `cellseg configs` lists")
    parser.add_argument("save_dir", help="folder for the pages")
    add_split_argument(parser, "train")
    parser.add_argument(
        "--count", type=int, default=12, help="samples to draw (default: %(default)s)"
    )
    parser.add_argument(
        "--columns", type=int, default=3, help="samples in a row (default: %(default)s)"
    )
    parser.add_argument("--rows", type=int, default=2, help="rows on a page (default: %(default)s)")
    parser.add_argument(
        "--tile",
        type=int,
        default=640,
        help="longer side of a sample in pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--ids",
        choices=("auto", "always", "never"),
        default="auto",
        help="write ids on cells (default: if readable)",
    )
    parser.add_argument(
        "--repeat",
        action="store_true",
        help="draw the first image --count times, to compare augmentations",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the augmentation (default: %(default)s)"
    )
    add_show_argument(parser, "each page")
    add_config_options(parser)


def check(args: argparse.Namespace) -> None:
    """Raise CellsegError if the flags make no sense."""
    if min(args.count, args.columns, args.rows) < 1 or args.tile < 64:
        raise CellsegError(
            "--count, --columns and --rows must be at least 1, and --tile at least 64."
        )


def main(args: argparse.Namespace) -> None:
    """Draw, write and show."""
    check(args)
    args.config = find_config(args.config)
    from cellseg.cli.tasks import browse_dataset

    browse_dataset.run(args)
