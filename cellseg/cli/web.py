"""Try a model in a browser: drop an image, see its cells, download them.

cellseg web
cellseg web --model my-model
cellseg web CONFIG CHECKPOINT --port 8000 --device cuda --score-thr 0.3

Without a model, one that comes with cellseg is used: `cellseg models` lists them.

The page is served on this machine only, makes no network requests, and is ended with Ctrl-C. It
needs Gradio, which `make install` and the extra `web` bring.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.arguments import add_config_options
from cellseg.cli.predict import settle_model

MAX_MB = 64.0
MAX_MEGAPIXELS = 2**24 / 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the page."""
    parser.add_argument(
        "config",
        nargs="?",
        help="config that the checkpoint was trained with: a file or a shipped one's name",
    )
    parser.add_argument("checkpoint", nargs="?", help="checkpoint file")
    parser.add_argument(
        "--model",
        metavar="NAME|FOLDER|CHECKPOINT",
        help="in place of both: a name that `cellseg models` lists, a model folder or a checkpoint",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default 127.0.0.1: this machine only)",
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
    parser.add_argument(
        "--score-thr",
        type=float,
        default=0.5,
        help="where the slider of the minimum score stands at first (default 0.5)",
    )
    parser.add_argument(
        "--max-mb",
        type=float,
        default=MAX_MB,
        help="largest file that is taken, in MiB (default %(default)g)",
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=MAX_MEGAPIXELS,
        help="largest image that is taken, in million pixels (default %(default).1f)",
    )
    parser.add_argument("--amp", action="store_true", help="compute in 16 bit, faster")
    parser.add_argument("--device", help="cuda, cuda:1, cpu; a GPU where there is one by default")
    add_config_options(parser)


def main(args: argparse.Namespace) -> int:
    """Serve the page until it is ended."""
    settle_model(args)
    from cellseg.cli.tasks import web

    return web.run(args)
