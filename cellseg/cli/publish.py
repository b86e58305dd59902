"""Make a model folder from a checkpoint: small, checked, free of pickles, ready to share.

cellseg publish work_dirs/run/best.pth --out models/my-model --license CC-BY-4.0
cellseg publish old.pth --config CONFIG --out models/my-model --images images/

The optimizer is left out and weights are stored in 16 bits; cells predicted before and after are
compared. A model card is written from what is known; complete it before you share the model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.arguments import add_config_options
from cellseg.config_files import find_config


def read_score(text: str) -> tuple[str, float]:
    """Read METRIC=VALUE."""
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not METRIC=VALUE, such as AJI=0.62"
        ) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of publishing."""
    parser.add_argument("checkpoint", type=Path, help="checkpoint file")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument(
        "--config",
        help="its config (default: the checkpoint's record, else the only .py beside it)",
    )
    parser.add_argument("--name", help="the model's name (default: that of the folder)")
    parser.add_argument("--license", default="not stated", help="terms of use, such as CC-BY-4.0")
    parser.add_argument("--data", help="for the card: training data, with their license and counts")
    parser.add_argument("--trained-by", help="for the card: the command that trained it")
    parser.add_argument(
        "--scores",
        nargs="+",
        type=read_score,
        default=[],
        metavar="METRIC=VALUE",
        help="for the card: scores on data that it was not trained on (default: the validation's)",
    )
    parser.add_argument(
        "--pixel-size", type=float, help="of the training images in micrometers, if not recorded"
    )
    parser.add_argument(
        "--images",
        nargs="+",
        help="images to compare predictions on (default: validation images, else drawn tissue)",
    )
    add_config_options(parser)


def main(args: argparse.Namespace) -> None:
    """Write the folder and say what changed."""
    args.config = args.config and find_config(args.config)
    from cellseg.cli.tasks import publish

    publish.run(args)
