"""Train a model that segments cells.

cellseg train my-project               # a project that `cellseg new` made
cellseg train mask-rcnn_r101_small-anchor
cellseg train CONFIG --resume          # continue after an interruption
cellseg train CONFIG --cfg-options train_dataloader.batch_size=4
cellseg train --from nuclei-he --data my-images       # a model further, on your own labels
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.arguments import add_runner_arguments
from cellseg.config_files import find_config
from cellseg.errors import CellsegError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of training."""
    parser.add_argument(
        "config",
        nargs="?",
        help="project of `cellseg new`, config file, or a name that `cellseg configs` lists",
    )
    _add_start_arguments(parser)
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
    parser.add_argument(
        "--verbose", action="store_true", help="show MMEngine's whole log, not only in the file"
    )
    parser.add_argument(
        "--track", choices=("mlflow", "wandb"), help="log to MLflow or Weights & Biases as well"
    )
    parser.add_argument(
        "--checkpoint-minutes",
        type=float,
        metavar="M",
        help="also save every M minutes; resuming continues at that step",
    )
    add_runner_arguments(parser)


def _add_start_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name a model and data in place of a config."""
    group = parser.add_argument_group("fine-tune a model, without a config")
    group.add_argument(
        "--from",
        dest="start",
        metavar="MODEL",
        help="start from this model: a name that `cellseg models` lists, a model folder or a "
        "checkpoint",
    )
    group.add_argument(
        "--data",
        type=Path,
        help="folder of <id>/image.tif with class files, a fifth of which validate; or of train "
        "and val",
    )
    group.add_argument("--classes", nargs="+", metavar="NAME", help="class names, in file order")
    group.add_argument(
        "--steps", type=int, default=500, help="training steps of four crops (default: %(default)s)"
    )


def check(args: argparse.Namespace) -> None:
    """Raise CellsegError unless there is either a config, or a model and data."""
    if args.config is None and args.start is None:
        raise CellsegError("Give a config, or a model and data with --from and --data.")
    if args.config is not None and args.start is not None:
        raise CellsegError("Give a config or --from, not both; a config has load_from.")
    if (args.start is None) != (args.data is None):
        raise CellsegError("--from and --data belong together; give both.")
    if args.checkpoint_minutes is not None and not args.checkpoint_minutes > 0:
        raise CellsegError("--checkpoint-minutes must be more than 0.")
    if args.steps < 1:
        raise CellsegError("--steps must be at least 1.")


def main(args: argparse.Namespace) -> None:
    """Train as the flags say."""
    check(args)
    args.config = args.config and find_config(args.config)
    from cellseg.cli.tasks import train

    train.run(args)
