"""Draw the sample data set that the demo trains on; what is already there is kept.

cellseg draw-sample-data data/sample
cellseg draw-sample-data data/dense --train 4 --val 2 --size 1024 --cells 1000
"""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the drawing."""
    parser.add_argument("out", help="folder of the data set; train/ and val/ are made in it")
    for flag, default, text in (
        ("--train", 32, "training images"),
        ("--val", 8, "validation images"),
        ("--size", 256, "side in pixels"),
        ("--cells", 50, "mean number of cells per image"),
        ("--seed", 0, "another number draws another data set"),
    ):
        parser.add_argument(flag, type=int, default=default, help=f"{text} (default: {default})")


def main(args: argparse.Namespace) -> None:
    """Draw what is missing and say where it is."""
    from tqdm import tqdm

    from cellseg.datasets.synthetic import SamplePlan, draw_sample_set
    from cellseg.errors import as_cellseg_error

    plan = SamplePlan(args.train, args.val, args.size, args.cells, args.seed)
    with as_cellseg_error():
        drawn = draw_sample_set(
            args.out, plan, lambda folders: tqdm(folders, unit="image", disable=None)
        )
    total = plan.num_train + plan.num_val
    sys.stdout.write(f"{args.out}: {total} images, {len(drawn)} drawn now\n")
