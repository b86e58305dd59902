"""The flags that all converters share, and what they all do with them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cellseg.datasets.converters.annotations import Source
from cellseg.datasets.converters.conversion import convert
from cellseg.datasets.converters.names import parse_class_map, settle_classes


def add_out_arguments(parser: argparse.ArgumentParser, one_class: str | None = None) -> None:
    """Add the output folder and the flags on classes and bad data.

    Args:
        parser: The tool's parser; its own positional arguments come before.
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
        parser.add_argument(
            "--class-map",
            nargs="+",
            default=[],
            metavar="NAME=CLASS",
            help="class of a name in the data; 'ignore' makes regions to ignore, 'drop' leaves out",
        )
        parser.add_argument(
            "--skip-unknown", action="store_true", help="leave out annotations of other classes"
        )
    else:
        parser.add_argument("--class-name", default=one_class, help="default: %(default)s")
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out what is missing or damaged, and say so"
    )


def add_order_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag on the order of channels."""
    parser.add_argument(
        "--channel-order",
        choices=("rgb", "bgr"),
        default="rgb",
        help="order in which TIFFs store colours (default: rgb); rgb is written",
    )


def run_conversion(source: Source, args: argparse.Namespace, data_format: str) -> str:
    """Convert a source as the flags say, with a progress bar.

    Args:
        source: The data.
        args: Flags of `add_out_arguments`, and others that decide the result.
        data_format: Name of the format, for the record.

    Returns:
        The report, and how a config reads the result.
    """
    table = settle_classes(
        source,
        getattr(args, "classes", None),
        parse_class_map(getattr(args, "class_map", [])),
        getattr(args, "skip_unknown", False),
    )
    options: dict[str, Any] = {
        name: getattr(args, name) for name in ("channel_order", "nuclei") if name in args
    }
    report = convert(
        source,
        table,
        args.out,
        settings={"format": data_format, **options},
        skip_bad=args.skip_bad,
        progress=lambda images: tqdm(images, unit="image", desc="converting"),
    )
    names = ", ".join(f'"{name}"' for name in table.classes)
    comma = "," if len(table.classes) == 1 else ""
    return (
        f"{report.to_text()}\n"
        f"Report: {args.out / 'conversion.txt'}; every case: {args.out / 'conversion.csv'}\n"
        f'In a config: data_root="{args.out}", channel_order="rgb", '
        f"metainfo=dict(classes=({names}{comma})), num_classes={len(table.classes)}"
    )
