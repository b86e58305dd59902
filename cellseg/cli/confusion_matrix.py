"""Show which class each cell was assigned, with missed cells and false positives.

    cellseg confusion-matrix CONFIG results.segm.json SAVE_DIR

Writes confusion_matrix.png, confusion_counts.csv and confusion_shares.csv. PREDICTIONS is the COCO
result JSON of `cellseg test --out`, or a folder of label TIFFs; no pickle is read.
"""

from __future__ import annotations

import argparse

from cellseg.cli.arguments import (
    add_config_options,
    add_matching_argument,
    add_score_argument,
    add_show_argument,
    add_truth_arguments,
    check_matching,
)
from cellseg.config_files import find_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the matrix."""
    add_truth_arguments(parser)
    parser.add_argument("save_dir", help="folder for the PNG and the CSV files")
    add_score_argument(parser, "minimum score of a predicted cell")
    add_matching_argument(parser)
    add_show_argument(parser)
    add_config_options(parser)


def check(args: argparse.Namespace) -> None:
    """Raise CellsegError if the flags make no sense."""
    check_matching(args)


def main(args: argparse.Namespace) -> None:
    """Count, write and show."""
    check(args)
    args.truth = find_source(args.truth)
    from cellseg.cli.tasks import confusion_matrix

    confusion_matrix.run(args)
