"""Test a trained checkpoint: AP table, and on request result files and overlays.

cellseg test CONFIG CHECKPOINT
cellseg test CONFIG CHECKPOINT --out results.pkl --show-dir overlays
"""

from __future__ import annotations

import argparse

from cellseg.cli.arguments import add_runner_arguments
from cellseg.config_files import find_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of testing."""
    parser.add_argument(
        "config",
        help="config of the checkpoint: a file, or a name that `cellseg configs` lists",
    )
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument(
        "--out",
        help="X.pkl dumps the predictions as MMDetection does and writes COCO results beside them "
        "(X.segm.json, X.bbox.json); X.json writes the COCO results only",
    )
    parser.add_argument(
        "--show", action="store_true", help="show each image with its cells in a window"
    )
    parser.add_argument(
        "--show-dir", help="folder for overlays, one file per image, in work_dir/<timestamp>/"
    )
    parser.add_argument(
        "--wait-time", type=float, default=2, help="seconds between two images of --show"
    )
    parser.add_argument(
        "--tta", action="store_true", help="average over flipped copies of each image"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="show warnings only; the log file has the rest"
    )
    add_runner_arguments(parser)


def main(args: argparse.Namespace) -> None:
    """Test as the flags say."""
    args.config = find_config(args.config)
    from cellseg.cli.tasks import test

    test.run(args)
