"""Convert other formats into cellseg's data layout, and this layout into COCO or GeoJSON.

cellseg convert coco instances.json images/ data/mine
cellseg convert --help             # lists the formats
cellseg convert coco --help        # the flags of one
"""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

from cellseg.cli.running import first_line

FORMATS = {
    "coco": "coco",
    "dsb2018": "dsb2018",
    "geojson": "geojson",
    "labels": "labels",
    "monusac": "monusac",
    "pannuke": "pannuke",
    "to-coco": "to_coco",
    "to-geojson": "to_geojson",
}
"""Each format and its module in `converters`."""


def load_format(name: str) -> ModuleType:
    """Import the module of a format."""
    return importlib.import_module(f"cellseg.cli.converters.{FORMATS[name]}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a subcommand for each format."""
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    for name in FORMATS:
        module = load_format(name)
        summary = first_line(module.__doc__)
        module.add_arguments(formats.add_parser(name, help=summary, description=summary))


def main(args: argparse.Namespace) -> int | None:
    """Convert as the format does."""
    status: int | None = load_format(args.format).main(args)
    return status
