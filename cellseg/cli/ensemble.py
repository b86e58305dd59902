"""Merge the COCO result files of several models, folds or runs into one.

    cellseg ensemble CONFIG fold0.segm.json fold1.segm.json --out ensemble.segm.json
    cellseg evaluate CONFIG ensemble.segm.json

CONFIG (or a data folder) says which images there are; `cellseg test --out` writes such files.
"""

from __future__ import annotations

import argparse

from cellseg.cli.arguments import add_config_options, add_split_argument
from cellseg.config_files import find_source
from cellseg.errors import CellsegError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of merging."""
    parser.add_argument("truth", help="config, or folder of <id>/image.tif")
    parser.add_argument("results", nargs="+", help="COCO result .json files with masks")
    parser.add_argument("--out", required=True, help="COCO result .json to write")
    add_split_argument(parser, "test")
    parser.add_argument(
        "--method",
        choices=("wbf", "nms"),
        default="wbf",
        help="wbf averages boxes, scores and masks; nms keeps the highest-scoring cell "
        "(default: wbf)",
    )
    parser.add_argument(
        "--iou-thr", type=float, default=0.5, help="mask IoU from which two cells are one"
    )
    parser.add_argument("--weights", type=float, nargs="+", help="one weight per file (default: 1)")
    parser.add_argument("--max-per-img", type=int, default=1000, help="cells kept per image")
    add_config_options(parser)


def check(args: argparse.Namespace) -> None:
    """Raise CellsegError if the flags make no sense."""
    if args.weights and (len(args.weights) != len(args.results) or min(args.weights) <= 0):
        raise CellsegError(f"--weights needs {len(args.results)} positive numbers, one per file.")
    if not 0 < args.iou_thr <= 1 or args.max_per_img < 1:
        raise CellsegError("--iou-thr must be above 0 and at most 1, --max-per-img at least 1.")


def main(args: argparse.Namespace) -> None:
    """Merge as the flags say."""
    check(args)
    args.truth = find_source(args.truth)
    from cellseg.cli.tasks import ensemble

    ensemble.run(args)
