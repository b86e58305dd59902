"""Write the annotations of a folder of label TIFFs as one COCO file.

cellseg convert to-coco DATA_ROOT OUT.json
cellseg convert to-coco DATA_ROOT OUT.json --classes nucleus
cellseg convert to-coco DATA_ROOT OUT.json --classes tumour immune \
    --label-files tumour.tif immune.tif
"""

from __future__ import annotations

import argparse

from cellseg.cli.converters.arguments import add_label_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the format."""
    add_label_arguments(parser, "COCO JSON file to write")
    parser.add_argument(
        "--label-files", nargs="+", help="label file of each class (default class1.tif, ...)"
    )
    parser.add_argument("--image-name", default="image.tif", help="name of the image in its folder")
    parser.add_argument(
        "--ignore-name", default="ignore.tif", help="label map of ignored regions; '' for none"
    )
    parser.add_argument("--min-area-px", type=int, default=1, help="drop smaller cells, in pixels")
    parser.add_argument("--include", help="text file with the image names to take, one per line")
    parser.add_argument("--test-index", help="JSON list of {file_name, id, height, width}")
    parser.add_argument("--ignore-unknown", action="store_true", help="accept other TIFFs")
    parser.add_argument("--num-workers", type=int, help="threads that read (default: all cores)")
    parser.add_argument("--no-cache", action="store_true", help="neither read nor write the cache")


def main(args: argparse.Namespace) -> None:
    """Write the file and print what it holds."""
    from cellseg.cli.tasks import to_coco

    to_coco.run(args)
