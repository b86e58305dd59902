"""Serve the page of the browser demo until a signal ends it."""

import argparse
import os
import shutil
import signal
import stat
import sys
import tempfile
import time
from contextlib import suppress
from getpass import getpass
from pathlib import Path
from typing import Any

from cellseg.cli.running import write_result
from cellseg.engine.configs import parse_cfg_options
from cellseg.engine.process_group import set_thread_counts
from cellseg.errors import CellsegError
from cellseg.file_locks import FolderLock
from cellseg.inference import Predictor
from cellseg.web.gradio_settings import prepare_gradio
from cellseg.web.inbox import Inbox
from cellseg.web.service import CellService
from cellseg.web.sessions import SessionStore
from cellseg.web.uploads import UploadLimits

_LOWEST_SCORE = 0.05
_PREFIX, _LOCK_NAME = "cellseg-web-", ".in_use"
_SETTLED_S = 10.0  # a folder may be made before its lock is taken


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


def read_password(args: argparse.Namespace, is_local: bool) -> str | None:
    """Read the password of the page, which one on the network must have or be said not to have.

    Raises:
        CellsegError: If there is none, and --no-password is not given.
    """
    if args.password_file is not None:
        try:
            password = args.password_file.read_text("utf-8").partition("\n")[0].strip()
        except (OSError, ValueError) as error:
            raise CellsegError(f"{args.password_file} cannot be read: {error}") from error
        if not password:
            raise CellsegError(f"{args.password_file} has no password in its first line.")
        return str(password)
    if is_local or args.no_password:
        return None
    if sys.stdin is not None and sys.stdin.isatty() and (typed := getpass("Password: ").strip()):
        return typed
    raise CellsegError(
        f"--host {args.host} can be reached from other machines; give a password with "
        "--password-file FILE, or --no-password to let anybody in."
    )


def end_on_hang_up(server: Any) -> None:
    """Let the end of the terminal end a server as Ctrl-C does, unless nohup forbids it."""
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN:
        signal.signal(hang_up, server.handle_exit)


def remove_leftovers(parent: Path) -> None:
    """Remove what servers that were killed have left, in folders of this user that none holds."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            state = folder.lstat()
            is_own = stat.S_ISDIR(state.st_mode) and state.st_uid == getattr(os, "getuid", int)()
            if not is_own or time.time() - state.st_mtime < _SETTLED_S:
                continue
            lock = FolderLock(folder / _LOCK_NAME)
            if lock.take():
                shutil.rmtree(folder, ignore_errors=True)
                lock.release()


def serve(args: argparse.Namespace, folder: Path) -> None:
    """Serve the page until a signal; everything written goes into a folder."""
    from cellseg.web.page import build_page
    from cellseg.web.server import address_of, build_app, is_loopback, listen, make_server

    password = read_password(args, is_loopback(args.host))
    with listen(args.host, args.port) as listener:
        service = build_service(args, folder / "pages")
        inbox = Inbox(folder / "gradio", service.limits.max_bytes)
        page = build_page(service, inbox, service.finder.model_name, args.score_thr)
        app = build_app(service, page, inbox, args.host, password)
        server = make_server(app, lambda: shutil.rmtree(folder, ignore_errors=True))
        end_on_hang_up(server)
        write_result(f"Open {address_of(listener)} in a browser; Ctrl-C ends it.")
        try:
            server.run(sockets=[listener])
        finally:
            service.store.close_all()


def run(args: argparse.Namespace) -> int:
    """Serve the page and clean up after it."""
    set_thread_counts()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    remove_leftovers(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
        lock = FolderLock(Path(folder) / _LOCK_NAME)
        lock.take()
        prepare_gradio(Path(folder) / "gradio")
        with suppress(KeyboardInterrupt):
            serve(args, Path(folder))
    write_result("The page is closed.")
    return 0
