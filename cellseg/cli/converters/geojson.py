"""Convert QuPath's GeoJSON files into label TIFFs, one folder per image.

cellseg convert geojson images/ geojson/ data/mine
cellseg convert geojson images/ geojson/ data/mine \
    --classes tumour immune --class-map Tumor=tumour "Immune cells=immune" Tissue=drop

Objects of the class Ignore* become ignore.tif. Run again, it continues where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.converters.arguments import add_order_argument, add_out_arguments
from cellseg.cli.running import write_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the format."""
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("annotations", type=Path, help="folder of <image>.geojson")
    parser.add_argument(
        "--nuclei", action="store_true", help="take the nucleus of a cell, not the whole cell"
    )
    parser.add_argument(
        "--objects",
        nargs="+",
        choices=("cell", "detection", "annotation"),
        help="types of objects to take (default: cells and detections, or else annotations)",
    )
    parser.add_argument("--z", type=int, help="z slice to take, from 0, where there are several")
    parser.add_argument("--t", type=int, help="time point to take, from 0")
    parser.add_argument("--c", type=int, help="channel to take, from 0")
    add_out_arguments(parser)
    add_order_argument(parser)


def main(args: argparse.Namespace) -> None:
    """Convert and print what became of the data."""
    from cellseg.cli.tasks.convert import run_conversion
    from cellseg.formats.geojson import read_geojson
    from cellseg.formats.qupath_objects import Plane

    source = read_geojson(
        args.images,
        args.annotations,
        args.channel_order,
        args.nuclei,
        args.objects,
        Plane(args.z, args.t, args.c),
    )
    write_result(run_conversion(source, args, "GeoJSON"))
