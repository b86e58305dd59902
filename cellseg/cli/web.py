"""Try a model in a browser: drop an image, see its cells, download them.

cellseg web CONFIG CHECKPOINT
cellseg web CONFIG CHECKPOINT --port 8000 --device cuda --score-thr 0.3

The page is served on this machine only, makes no network requests, and is ended with Ctrl-C. It
needs Gradio, which `make install` and the extra `web` bring.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cellseg.cli.arguments import add_config_options
from cellseg.config_files import find_config

MAX_MB = 64.0
MAX_MEGAPIXELS = 2**24 / 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the page."""
    parser.add_argument(
        "config", help="config that the checkpoint was trained with: a file or a shipped one's name"
    )
    parser.add_argument("checkpoint", help="checkpoint file")
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
    args.config = find_config(args.config)
    from cellseg.cli.tasks import web

    return web.run(args)
