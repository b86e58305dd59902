"""Flags that several commands share. Nothing here imports PyTorch or MMEngine."""

from __future__ import annotations

import argparse

from cellseg.defaults import DEFAULT_SCORE_THR, SPLITS
from cellseg.errors import CellsegError

LAUNCHERS = ("none", "pytorch", "slurm", "mpi")


def read_setting(text: str) -> str:
    """Check that a word of --cfg-options is key=value; MMEngine reads the value later."""
    key, mark, _ = text.partition("=")
    if not key or not mark:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not key=value, such as train_dataloader.batch_size=4"
        )
    return text


def add_config_options(
    parser: argparse.ArgumentParser, text: str = "override settings of the config"
) -> None:
    """Add --cfg-options, kept as typed; `parse_cfg_options` turns the words into settings."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        type=read_setting,
        metavar="KEY=VALUE",
        help=text,
    )


def add_runner_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that train and test share, named as MMDetection names them."""
    parser.add_argument("--work-dir", help="folder for logs, checkpoints and figures")
    add_config_options(
        parser,
        "override settings of the config: key=value pairs, such as "
        'train_dataloader.batch_size=4; lists as key="[a,b]" without white space',
    )
    parser.add_argument("--launcher", choices=LAUNCHERS, default="none", help="job launcher")
    # torchrun and torch.distributed.launch pass one or the other spelling.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def add_split_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the flag that chooses whose data of a config is meant."""
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default=default,
        help=f"which split of the config's data (default: {default})",
    )


def add_files_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag that names the files of a folder of label TIFFs."""
    parser.add_argument(
        "--files",
        metavar="PATTERN",
        help="names of the label TIFFs, as '{image}/class{class}.tif' or '{image}_cp_masks.tif'",
    )


def add_truth_arguments(
    parser: argparse.ArgumentParser, may_lack_predictions: bool = False
) -> None:
    """Add ground truth and predictions, and the flags on how both are read.

    Args:
        parser: The command's parser.
        may_lack_predictions: Whether the command makes predictions where none are given.
    """
    parser.add_argument(
        "truth", help="project, config, or folder of <id>/image.tif with class1.tif and so on"
    )
    optional = " (default: predict with the trained model)"
    parser.add_argument(
        "predictions",
        nargs="?" if may_lack_predictions else None,
        help=f"COCO result .json, or folder of label TIFFs{optional * may_lack_predictions}",
    )
    add_split_argument(parser, "test")
    add_files_argument(parser)
    add_data_arguments(parser)


def add_score_argument(
    parser: argparse.ArgumentParser, text: str = "predictions with a lower score count in AP only"
) -> None:
    """Add the minimum score of what is counted."""
    parser.add_argument(
        "--score-thr",
        type=float,
        default=DEFAULT_SCORE_THR,
        help=f"{text} (default: %(default)s)",
    )


def add_matching_argument(parser: argparse.ArgumentParser) -> None:
    """Add the mask IoU above which a predicted and an annotated cell match."""
    parser.add_argument(
        "--iou-thr",
        type=float,
        default=0.5,
        help="cells match above this mask IoU (default: %(default)s)",
    )


def check_matching(args: argparse.Namespace) -> None:
    """Raise CellsegError if --iou-thr makes no sense."""
    if not 0 <= args.iou_thr < 1:
        raise CellsegError(f"--iou-thr must be at least 0 and below 1, not {args.iou_thr}.")


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags on how a folder of images is read."""
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="class names of a data folder, in file order"
    )


def add_class_map(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the flag that says which class each name in the data becomes."""
    parser.add_argument(
        "--class-map",
        nargs="+",
        default=[],
        metavar="NAME=CLASS",
        help="class of a name in the data; 'ignore' makes ignored regions, 'drop' skips it",
    )


def add_skip_bad(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the flag that makes a conversion go on without what is missing or damaged."""
    parser.add_argument(
        "--skip-bad", action="store_true", help="skip and report what is missing or damaged"
    )


def add_connected_components(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the flag that makes a cell of each piece of a mask."""
    parser.add_argument(
        "--connected-components",
        action="store_true",
        help="make every connected piece a cell: for black-and-white masks, and 8-bit ids that "
        "started over at 256",
    )


def add_show_argument(parser: argparse.ArgumentParser, what: str = "the figure") -> None:
    """Add the flag that opens a window."""
    parser.add_argument("--show", action="store_true", help=f"show {what} in a window")
