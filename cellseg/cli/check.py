"""Check your data before training: list problems, and draw the images as the network gets them.

    cellseg check my-project
    cellseg check CONFIG
    cellseg check data/mine --out work_dirs/check

It is `cellseg dataset-report` and `cellseg browse-dataset` with their usual settings.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.arguments import add_config_options, add_data_arguments
from cellseg.config_files import find_source
from cellseg.project_files import CHECK_NAME, is_project


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the check."""
    parser.add_argument(
        "data",
        help="project of `cellseg new`, config, or folder of <id>/image.tif with class files",
    )
    parser.add_argument(
        "--out", type=Path, help="folder for figures and tables (default: PROJECT/check)"
    )
    add_data_arguments(parser)
    add_config_options(parser)


def main(args: argparse.Namespace) -> int:
    """Describe the data; 1 where it must not be trained on."""
    if args.out is None:
        is_own = is_project(args.data)
        args.out = (Path(args.data) if is_own else Path("work_dirs")) / CHECK_NAME
    args.project = args.data if is_project(args.data) else None
    args.data = find_source(args.data)
    from cellseg.cli.tasks import check

    return check.run(args)
