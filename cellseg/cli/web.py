"""View images in a browser, find and correct their cells, and export them.

cellseg web
cellseg web slide.svs
cellseg web images/ --model my-model --port 8000 --device cuda

Without a model, one that comes with cellseg is used: `cellseg models` lists them.

The page is served on this machine only, makes no network requests, and is ended with Ctrl-C.
Corrections and uploads are kept in the folder --keep and are there again at the next start.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.arguments import add_config_options
from cellseg.cli.predict import add_model_arguments, settle_model

MAX_MB = 1024.0
MAX_GB = 50.0
MAX_MEGAPIXELS = 2**26 / 1e6
KEEP = Path("cellseg-web")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `cellseg web`: images first, the model by options."""
    parser.add_argument(
        "inputs", nargs="*", metavar="IMAGE|FOLDER", help="images to open; more can be uploaded"
    )
    add_model_arguments(parser)
    _add_options(parser)


def add_tool_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of tools/web_demo.py: config and checkpoint first."""
    parser.add_argument("config", nargs="?", help="config that the checkpoint was trained with")
    parser.add_argument("checkpoint", nargs="?", help="checkpoint file")
    parser.set_defaults(inputs=[])
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Add all flags but those of the model."""
    _add_serving_options(parser)
    parser.add_argument(
        "--score-thr",
        type=float,
        default=0.5,
        help="initial minimum score of the slider (default 0.5)",
    )
    parser.add_argument(
        "--max-mb",
        type=float,
        default=MAX_MB,
        help="largest upload, in MiB (default %(default)g)",
    )
    parser.add_argument(
        "--max-gb",
        type=float,
        default=MAX_GB,
        help="all uploads and corrections together, in GiB (default %(default)g); 1 GiB of the "
        "disk stays free in any case",
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=MAX_MEGAPIXELS,
        help="largest upload that cannot be read in parts, in million pixels (default "
        "%(default).1f)",
    )
    parser.add_argument("--amp", action="store_true", help="compute in 16 bit")
    parser.add_argument("--device", help="cuda, cuda:1, cpu (default: a GPU if there is one)")
    add_config_options(parser)


def _add_serving_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags on where the page is served, to whom, and where it keeps what it gets."""
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        default=KEEP,
        help="folder of uploads and corrections, made if needed (default: %(default)s)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default 127.0.0.1: this machine only)",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name that the page is opened by, such as that of a proxy; may be repeated "
        "(default: this machine's name and IP addresses)",
    )
    protection = parser.add_mutually_exclusive_group()
    protection.add_argument(
        "--password-file", type=Path, help="file whose first line is the page's password"
    )
    protection.add_argument(
        "--no-password",
        action="store_true",
        help="let anybody who reaches --host use the page",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=7860,
        help="port to listen on; 0 takes a free one (default %(default)s)",
    )


def main(args: argparse.Namespace) -> int:
    """Serve the page until it is ended."""
    settle_model(args)
    from cellseg.cli.tasks import web

    return web.run(args)
