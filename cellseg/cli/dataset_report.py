"""Describe a data set and find what looks wrong in it.

    cellseg dataset-report CONFIG SAVE_DIR
    cellseg dataset-report DATA_ROOT SAVE_DIR --channel-order bgr

Prints the report and writes dataset_report.png, images.csv and suspicious_cells.csv.
"""

from __future__ import annotations

import argparse

from cellseg.cli.arguments import add_config_options, add_data_arguments, add_show_argument
from cellseg.config_files import find_source
from cellseg.defaults import DEFAULT_TINY_PX


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the report."""
    parser.add_argument(
        "data", help="config, or folder of <id>/image.tif with class1.tif and so on"
    )
    parser.add_argument("save_dir", help="folder for the figure and the CSV files")
    parser.add_argument(
        "--num-folds",
        type=int,
        default=None,
        help="folds to report on (default: the config's; none for a folder)",
    )
    add_data_arguments(parser)
    parser.add_argument(
        "--channel-order",
        choices=("rgb", "bgr"),
        default="rgb",
        help="of a data folder's images (default: rgb)",
    )
    parser.add_argument(
        "--tiny-px",
        type=int,
        default=DEFAULT_TINY_PX,
        help="smaller cells are tiny (default: %(default)s px)",
    )
    add_show_argument(parser)
    add_config_options(parser)


def main(args: argparse.Namespace) -> None:
    """Describe, print, write and draw."""
    args.data = find_source(args.data)
    from cellseg.cli.tasks import dataset_report

    dataset_report.run(args)
