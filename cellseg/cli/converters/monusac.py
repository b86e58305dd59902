"""Convert MoNuSAC's original images and XML files into label TIFFs, one folder per image.

cellseg convert monusac MoNuSAC_images_and_annotations data/monusac
cellseg convert monusac MoNuSeg data/monuseg --classes nucleus --class-map unnamed=nucleus

Ambiguous regions become ignore.tif. Run again, it continues where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.converters.arguments import add_order_argument, add_out_arguments
from cellseg.cli.running import write_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the format."""
    parser.add_argument("folder", type=Path, help="folder of <name>.svs or .tif and <name>.xml")
    add_out_arguments(parser)
    add_order_argument(parser)


def main(args: argparse.Namespace) -> None:
    """Convert and print what became of the data."""
    from cellseg.cli.tasks.convert import run_conversion
    from cellseg.formats.monusac import read_monusac

    source = read_monusac(args.folder, args.channel_order)
    write_result(run_conversion(source, args, "MoNuSAC"))
