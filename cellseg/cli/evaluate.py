"""Evaluate predictions from any tool: AP, PQ, F1, AJI, Dice.

    cellseg evaluate mask-rcnn_r101_small-anchor results.segm.json
    cellseg evaluate DATA_ROOT CELLPOSE_FOLDER --files "{image}_cp_masks.tif"

Predictions are a COCO result JSON or a folder of label TIFFs, such as `cellseg predict`, Cellpose
and StarDist write. No pickle is read. In the JSON of --out a figure that does not exist, such as
the AP of small cells where there is none, is null.
"""

from __future__ import annotations

import argparse

from cellseg.cli.arguments import (
    add_config_options,
    add_data_arguments,
    add_files_argument,
    add_score_argument,
    add_split_argument,
)
from cellseg.config_files import find_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of evaluation."""
    parser.add_argument(
        "truth", help="config, or folder of <id>/image.tif with class1.tif and so on"
    )
    parser.add_argument("predictions", help="COCO result .json, or folder of label TIFFs")
    add_split_argument(parser, "test")
    add_files_argument(parser)
    add_data_arguments(parser)
    parser.add_argument(
        "--ignore-classes", action="store_true", help="match cells whatever their class"
    )
    add_score_argument(parser)
    parser.add_argument("--out", help="also write all figures to this .json")
    add_config_options(parser)


def main(args: argparse.Namespace) -> None:
    """Evaluate as the flags say."""
    args.truth = find_source(args.truth)
    from cellseg.cli.tasks import evaluate

    evaluate.run(args)
