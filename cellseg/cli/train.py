"""Train a cell instance segmenter.

cellseg train mask-rcnn_r101_small-anchor
cellseg train CONFIG --resume          # continue after an interruption
cellseg train CONFIG --cfg-options train_dataloader.batch_size=4
"""

from __future__ import annotations

import argparse

from cellseg.cli.arguments import add_runner_arguments
from cellseg.config_files import find_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of training."""
    parser.add_argument("config", help="config file, or the name of one that `cellseg configs` has")
    parser.add_argument(
        "--amp", action="store_true", help="mixed precision: fp16 on a GPU, bf16 on a CPU"
    )
    parser.add_argument(
        "--auto-scale-lr", action="store_true", help="scale the learning rate to the batch size"
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        help="continue from this checkpoint; without a path, from the last intact one in the work "
        "dir",
    )
    add_runner_arguments(parser)


def main(args: argparse.Namespace) -> None:
    """Train as the flags say."""
    args.config = find_config(args.config)
    from cellseg.cli.tasks import train

    train.run(args)
