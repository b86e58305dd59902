"""Show which class each cell was taken for, with missed cells and false positives.

    cellseg confusion-matrix CONFIG results.segm.json SAVE_DIR

Writes confusion_matrix.png, confusion_counts.csv and confusion_shares.csv. RESULTS is the COCO
result JSON of `cellseg test --out`, or a folder of label TIFFs; no pickle is read.
"""

from __future__ import annotations

import argparse

from cellseg.cli.arguments import (
    add_config_options,
    add_files_argument,
    add_matching_argument,
    add_score_argument,
    add_show_argument,
    add_split_argument,
)
from cellseg.config_files import find_source
from cellseg.errors import CellsegError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the matrix."""
    parser.add_argument(
        "config", help="config, or folder of <id>/image.tif with class1.tif and so on"
    )
    parser.add_argument("results", help="COCO result .json, or folder of label TIFFs")
    parser.add_argument("save_dir", help="folder for the PNG and the CSV files")
    add_split_argument(parser, "test")
    add_files_argument(parser)
    add_score_argument(parser, "minimum score of a predicted cell")
    add_matching_argument(parser)
    add_show_argument(parser)
    add_config_options(parser)


def check(args: argparse.Namespace) -> None:
    """Raise CellsegError if the flags make no sense."""
    if not 0 <= args.iou_thr < 1:
        raise CellsegError(f"--iou-thr must be at least 0 and below 1, not {args.iou_thr}.")


def main(args: argparse.Namespace) -> None:
    """Count, write and show."""
    check(args)
    args.config = find_source(args.config)
    from cellseg.cli.tasks import confusion_matrix

    confusion_matrix.run(args)
