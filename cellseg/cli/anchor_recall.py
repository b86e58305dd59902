"""Show how well the anchors of configs cover the cells of a data set, without training.

    cellseg anchor-recall mask-rcnn_r101_small-anchor mask-rcnn_r101_default-anchor --out recall.png
    cellseg anchor-recall CONFIG --fit

The cells are those of the first config's data (or of --data), resized as each config's test
pipeline does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.arguments import add_config_options, add_show_argument, add_split_argument
from cellseg.config_files import find_config
from cellseg.errors import CellsegError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the comparison."""
    parser.add_argument(
        "configs", nargs="+", metavar="config", help="configs, compared side by side"
    )
    parser.add_argument(
        "--data", help="folder of <id>/image.tif to use instead of the first config's data"
    )
    add_split_argument(parser, "train")
    parser.add_argument("--out", help="draw the figure to this file (.png, .svg or .pdf)")
    add_show_argument(parser)
    parser.add_argument(
        "--fit", action="store_true", help="propose base sizes and ratios for the cells"
    )
    parser.add_argument(
        "--num-ratios",
        type=int,
        default=8,
        help="how many ratios --fit proposes (default: %(default)s)",
    )
    add_config_options(parser, "override settings of the configs")


def check(args: argparse.Namespace) -> None:
    """Raise CellsegError if the flags make no sense."""
    if args.out and Path(args.out).suffix not in (".png", ".svg", ".pdf"):
        raise CellsegError(f"--out {args.out} must end in .png, .svg or .pdf.")
    if args.num_ratios < 1:
        raise CellsegError(f"--num-ratios must be at least 1, not {args.num_ratios}.")


def main(args: argparse.Namespace) -> None:
    """Measure, print, draw."""
    check(args)
    args.configs = [find_config(name) for name in args.configs]
    from cellseg.cli.tasks import anchor_recall

    anchor_recall.run(args)
