"""Evaluate predictions from any tool: AP, PQ, F1, AJI, Dice.

    cellseg evaluate my-project            # the validation images, with the model trained there
    cellseg evaluate mask-rcnn_r101_small-anchor results.segm.json
    cellseg evaluate DATA_ROOT CELLPOSE_FOLDER --files "{image}_cp_masks.tif"

Without predictions, the images of a config are predicted first, with the last checkpoint of its
work folder. Predictions are a COCO result JSON or a folder of label TIFFs, such as `cellseg
predict`, Cellpose and StarDist write. No pickle is read. In the JSON of --out a figure that does
not exist, such as the AP of small cells where there is none, is null.

Scores are pooled over all images unless their names end in _image_mean. --per-image writes those of
every image; --tissues adds PQ_tissue_mean, as PanNuke reports it.
"""

from __future__ import annotations

import argparse

from cellseg.cli.arguments import (
    add_config_options,
    add_score_argument,
    add_truth_arguments,
)
from cellseg.config_files import find_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of evaluation."""
    add_truth_arguments(parser, may_lack_predictions=True)
    parser.add_argument(
        "--ignore-classes", action="store_true", help="match cells whatever their class"
    )
    add_score_argument(parser)
    parser.add_argument("--out", help="also write all figures to this .json")
    parser.add_argument(
        "--per-image",
        metavar="CSV",
        help="also write PQ, DQ, SQ, AJI, Dice, AP = TP / (TP + FP + FN), F1, precision and recall "
        "of every image, class by class, to this .csv; its last rows are pooled over the images "
        "(counts summed first) and averaged over them",
    )
    parser.add_argument(
        "--tissues",
        metavar="FILE",
        help="file of 'image,tissue' lines: adds PQ_tissue_mean, PanNuke's mPQ and bPQ (mean over "
        "the classes of an image, then the images of a tissue, then the tissues)",
    )
    add_config_options(parser)


def main(args: argparse.Namespace) -> None:
    """Evaluate as the flags say."""
    args.truth = find_source(args.truth)
    from cellseg.cli.tasks import evaluate

    evaluate.run(args)
