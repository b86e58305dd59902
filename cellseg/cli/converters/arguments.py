"""Flags that the converters share."""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.arguments import add_class_map, add_connected_components, add_skip_bad

DEFAULT_CLASSES = ("epithelial", "lymphocyte", "neutrophil", "macrophage")
"""Class names of `CellDataset` where none are given."""


def add_out_arguments(parser: argparse.ArgumentParser, one_class: str | None = None) -> None:
    """Add the output folder and the flags on classes and bad data.

    Args:
        parser: The command's parser; its own positional arguments come before.
        one_class: Default name of the class, of a format that has only one.
    """
    parser.add_argument("out", type=Path, help="folder to write <id>/image.tif, class1.tif, ... to")
    if one_class is None:
        parser.add_argument(
            "--classes",
            nargs="+",
            metavar="NAME",
            help="classes in the order of class1.tif, class2.tif, ... (default: the data's)",
        )
        add_class_map(parser)
        parser.add_argument(
            "--skip-unknown", action="store_true", help="skip annotations of other classes"
        )
    else:
        parser.add_argument("--class-name", default=one_class, help="default: %(default)s")
    add_skip_bad(parser)
    add_connected_components(parser)


def add_order_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag on the order of channels."""
    parser.add_argument(
        "--channel-order",
        choices=("rgb", "bgr"),
        default="rgb",
        help="order in which TIFFs store colors (default: rgb); rgb is written",
    )


def add_label_arguments(parser: argparse.ArgumentParser, out_help: str) -> None:
    """Add what the formats that are written from label TIFFs share."""
    parser.add_argument("data_root", type=Path, help="folder of <id>/image.tif with class files")
    parser.add_argument("out", type=Path, help=out_help)
    parser.add_argument(
        "--classes",
        nargs="+",
        default=list(DEFAULT_CLASSES),
        help="class names in the order of the class files",
    )
    parser.add_argument("--skip-bad", action="store_true", help="skip images that are damaged")
