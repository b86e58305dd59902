"""Serve the page of the browser demo until a signal ends it."""

import argparse
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

from cellseg.cli.running import write_result
from cellseg.engine.configs import parse_cfg_options
from cellseg.engine.process_group import set_thread_counts
from cellseg.errors import CellsegError
from cellseg.inference import Predictor
from cellseg.web.gradio_settings import prepare_gradio
from cellseg.web.service import CellService
from cellseg.web.sessions import SessionStore
from cellseg.web.uploads import UploadLimits

_LOWEST_SCORE = 0.05


def build_service(args: argparse.Namespace, folder: Path) -> CellService:
    """Load the model and say how large images may be; pages keep their files in a folder."""
    if not 0 <= args.score_thr <= 1:
        raise CellsegError(f"--score-thr {args.score_thr:g} is not a score from 0 to 1.")
    if args.max_mb <= 0 or args.max_megapixels <= 0:
        raise CellsegError("--max-mb and --max-megapixels must be above 0.")
    predictor = Predictor(
        args.config,
        args.checkpoint,
        device=args.device,
        score_thr=min(_LOWEST_SCORE, args.score_thr),
        amp=args.amp,
        cfg_options=parse_cfg_options(args.cfg_options),
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
        page = build_page(service, service.finder.model_name, args.score_thr)
        server = make_server(build_app(service, page, args.host))
        write_result(f"Open {address_of(listener)} in a browser; Ctrl-C ends it.")
        try:
            server.run(sockets=[listener])
        finally:
            service.store.close_all()


def run(args: argparse.Namespace) -> int:
    """Serve the page and clean up after it."""
    set_thread_counts()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    with tempfile.TemporaryDirectory(prefix="cellseg-web-", ignore_cleanup_errors=True) as folder:
        prepare_gradio(Path(folder) / "gradio")
        with suppress(KeyboardInterrupt):
            serve(args, Path(folder))
    write_result("The page is closed.")
    return 0
