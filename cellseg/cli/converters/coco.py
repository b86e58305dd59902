"""Convert COCO instance annotations into label TIFFs, one folder per image.

cellseg convert coco instances.json images/ data/mine
cellseg convert coco instances.json images/ data/mine \
    --classes tumour immune --class-map Tumor=tumour "T cell=immune" Debris=ignore

Crowds become ignore.tif. Run again, it continues where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.converters.arguments import add_order_argument, add_out_arguments
from cellseg.cli.running import write_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the format."""
    parser.add_argument("annotations", type=Path, help="COCO JSON file")
    parser.add_argument("images", type=Path, help="folder that its file names are relative to")
    parser.add_argument(
        "--crowds-as-cells", action="store_true", help="take annotations with iscrowd=1 as cells"
    )
    add_out_arguments(parser)
    add_order_argument(parser)


def main(args: argparse.Namespace) -> None:
    """Convert and print what became of the data."""
    from cellseg.cli.tasks.convert import run_conversion
    from cellseg.formats.coco_data import read_coco

    source = read_coco(args.annotations, args.images, args.channel_order, args.crowds_as_cells)
    write_result(run_conversion(source, args, "COCO"))
