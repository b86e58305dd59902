"""Write one HTML page on how good predictions are and where they fail.

    cellseg test CONFIG CHECKPOINT --work-dir WORK_DIR --out WORK_DIR/results.json
    cellseg report WORK_DIR

WORK_DIR is a folder of `cellseg train` or `cellseg test`: the config (which is executed, as
MMDetection does), the training log and the COCO result JSON are taken from there. The page makes
no network requests.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.arguments import (
    add_config_options,
    add_files_argument,
    add_matching_argument,
    add_score_argument,
    add_split_argument,
    check_matching,
)
from cellseg.config_files import find_config
from cellseg.errors import CellsegError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the report."""
    parser.add_argument("work_dir", type=Path, help="folder of a training or a test")
    parser.add_argument("--out", type=Path, help="the page (default: WORK_DIR/report.html)")
    parser.add_argument("--config", help="config (default: the one in WORK_DIR)")
    parser.add_argument(
        "--results",
        help="COCO result .json or folder of label TIFFs (default: newest *.segm.json in WORK_DIR)",
    )
    add_files_argument(parser)
    parser.add_argument(
        "--logs", type=Path, help="work dir of the training (default: WORK_DIR, if it has a log)"
    )
    add_split_argument(parser, "test")
    add_score_argument(parser)
    add_matching_argument(parser)
    parser.add_argument(
        "--max-images", type=int, default=3, help="best and worst images (default: %(default)s)"
    )
    parser.add_argument(
        "--max-cells", type=int, default=24, help="cells in each gallery (default: %(default)s)"
    )
    add_config_options(parser)


def check(args: argparse.Namespace) -> None:
    """Raise CellsegError if the flags make no sense."""
    check_matching(args)
    if args.max_images < 0 or args.max_cells < 0:
        raise CellsegError("--max-images and --max-cells must not be negative.")


def main(args: argparse.Namespace) -> None:
    """Write the page and say where it is."""
    check(args)
    args.config = args.config and find_config(args.config)
    from cellseg.cli.tasks import report

    report.run(args)
