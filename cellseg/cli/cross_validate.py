"""Train and test every fold of a config, and print mean and spread for each class.

    cellseg cross-validate mask-rcnn_r101_small-anchor
    cellseg cross-validate CONFIG --num-folds 3 --cfg-options train_cfg.max_epochs=30
    cellseg cross-validate CONFIG --fold 2      # this one only, for a job of its own

The images in the training data's folder are split. A fold that is done is read, one that was
interrupted continues; its last checkpoint is tested.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.arguments import add_config_options
from cellseg.config_files import find_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of cross-validation."""
    parser.add_argument("config", help="config file, or a name that `cellseg configs` lists")
    parser.add_argument("--num-folds", type=int, help="default: the config's own")
    parser.add_argument(
        "--fold", type=int, help="do this fold only, from 0; a call without it gathers them"
    )
    parser.add_argument("--work-dir", type=Path, help="default: work_dirs/<config>_folds")
    add_config_options(parser)


def main(args: argparse.Namespace) -> None:
    """Run the folds and print the table."""
    args.config = find_config(args.config)
    from cellseg.cli.tasks import cross_validate

    cross_validate.run(args)
