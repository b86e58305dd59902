"""Try a model in a browser: drop an image, see its cells, download them.

python tools/web_demo.py CONFIG CHECKPOINT
python tools/web_demo.py CONFIG CHECKPOINT --port 8000 --device cuda --score-thr 0.3

The page is served on this machine only, asks nothing of the network, and is ended with Ctrl-C. It
needs Gradio, which `make install` brings.
"""

import argparse
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

from mmengine.config import DictAction

import cellseg  # noqa: F401  (registers the project's parts)
from cellseg.engine.process_group import set_thread_counts
from cellseg.engine.run_config import run_tool
from cellseg.errors import CellsegError
from cellseg.inference import Predictor
from cellseg.web.gradio_settings import prepare_gradio
from cellseg.web.service import CellService
from cellseg.web.sessions import SessionStore
from cellseg.web.uploads import UploadLimits

_LOWEST_SCORE = 0.05


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    limits = UploadLimits()
    parser = argparse.ArgumentParser(
        description="Serve a page on which images are dropped and their cells shown."
    )
    parser.add_argument("config", help="config file that the checkpoint was trained with")
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default 127.0.0.1: this machine only; there is no password)",
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
        help="where the slider stands at first (default 0.5)",
    )
    parser.add_argument(
        "--max-mb",
        type=float,
        default=limits.max_bytes / 2**20,
        help="largest file that is taken, in MiB (default %(default)g)",
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=limits.max_pixels / 1e6,
        help="largest image that is taken, in million pixels (default %(default).1f)",
    )
    parser.add_argument("--amp", action="store_true", help="compute in 16 bit, faster")
    parser.add_argument("--device", help="cuda, cuda:1, cpu; a GPU where there is one by default")
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, help="override settings of the config"
    )
    return parser.parse_args()


def build_service(args: argparse.Namespace, folder: Path) -> CellService:
    """Load the model and say how large images may be; pages keep their files in a folder."""
    if not 0 <= args.score_thr <= 1:
        raise CellsegError(f"--score-thr {args.score_thr:g} is no score; give one from 0 to 1.")
    if args.max_mb <= 0 or args.max_megapixels <= 0:
        raise CellsegError("--max-mb and --max-megapixels must be above 0.")
    predictor = Predictor(
        args.config,
        args.checkpoint,
        device=args.device,
        score_thr=min(_LOWEST_SCORE, args.score_thr),
        amp=args.amp,
        cfg_options=args.cfg_options,
    )
    limits = UploadLimits(round(args.max_mb * 2**20), round(args.max_megapixels * 1e6))
    folder.mkdir()
    return CellService(predictor, SessionStore(folder), limits)


def serve(args: argparse.Namespace, folder: Path) -> None:
    """Serve the page until a signal; everything written goes into a folder."""
    from cellseg.web.page import build_page
    from cellseg.web.server import address_of, build_app, listen, make_server

    with listen(args.host, args.port) as listener:
        service = build_service(args, folder / "pages")
        page = build_page(service, Path(args.config).stem, args.score_thr)
        server = make_server(build_app(service, page, args.host))
        print(f"Open {address_of(listener)} in a browser; Ctrl-C ends it.", flush=True)
        try:
            server.run(sockets=[listener])
        finally:
            service.store.close_all()


def main() -> int:
    """Serve the page and clean up after it."""
    args = parse_args()
    set_thread_counts()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    with tempfile.TemporaryDirectory(prefix="cellseg-web-", ignore_cleanup_errors=True) as folder:
        prepare_gradio(Path(folder) / "gradio")
        with suppress(KeyboardInterrupt):
            serve(args, Path(folder))
    print("The page is closed.")
    return 0


if __name__ == "__main__":
    run_tool(main)
