"""Serve the page until a signal ends it."""

import argparse
import importlib.util
import logging
import math
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from getpass import getpass
from pathlib import Path
from typing import Any

from cellseg.cli.running import write_result
from cellseg.engine.configs import parse_cfg_options
from cellseg.engine.process_group import set_thread_counts
from cellseg.errors import CellsegError
from cellseg.file_locks import FolderLock
from cellseg.fileio import read_text
from cellseg.inference import Predictor
from cellseg.inference.image_list import find_input_images
from cellseg.model_files import list_models, read_model_facts

_LOWEST_SCORE = 0.05
_LOCK_NAME = ".in_use"


def require_packages() -> None:
    """Raise CellsegError where the packages of the page are not installed."""
    for name in ("starlette", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            raise CellsegError(
                f"The page needs {name}, which is not installed; run `make install`, or "
                f"`pip install starlette uvicorn`."
            )


def list_other_models(
    args: argparse.Namespace, finder: Predictor
) -> dict[str, Callable[[], Predictor]]:
    """List what loads the installed models that know the same classes and read images alike."""
    found: dict[str, Callable[[], Predictor]] = {}
    for name in list_models():
        with suppress(CellsegError):  # said when it is asked for by name
            facts = read_model_facts(list_models()[name])
            order = finder.image_format.get("channel_order", "rgb")
            is_alike = facts.classes == finder.class_names
            is_alike &= facts.record.get("channel_order", "rgb") == order
            if name != finder.model_name and is_alike:
                options = {"device": args.device, "score_thr": finder.score_thr, "amp": args.amp}
                found[name] = partial(Predictor, name, **options)
    return found


def build_finder(args: argparse.Namespace) -> Predictor:
    """Load the model; the page can show cells down to a low score."""
    if not 0 <= args.score_thr <= 1:
        raise CellsegError(f"--score-thr {args.score_thr:g} is not a score from 0 to 1.")
    limits = (args.max_mb, args.max_gb, args.max_megapixels)
    if not all(0 < limit < math.inf for limit in limits):
        raise CellsegError("--max-mb, --max-gb and --max-megapixels must be numbers above 0.")
    return Predictor(
        args.config,
        args.checkpoint,
        device=args.device,
        score_thr=min(_LOWEST_SCORE, args.score_thr),
        amp=args.amp,
        cfg_options=parse_cfg_options(args.cfg_options),
    )


def build_service(args: argparse.Namespace) -> Any:
    """Load the model and find the images; uploads and corrections are kept in a folder."""
    from cellseg.web.calls import PageService
    from cellseg.web.disk_space import DiskSpace
    from cellseg.web.inbox import Inbox
    from cellseg.web.page_images import OpenImages, list_given
    from cellseg.web.prediction import PredictionQueue
    from cellseg.web.sessions import SessionStore
    from cellseg.web.uploads import UploadLimits

    given = {}
    if args.inputs:
        given = {image.name: image.path for image in find_input_images(args.inputs, args.keep)}
    for path in given.values():
        if not path.is_file():
            raise CellsegError(f"{path}: no such file; correct the path.")
    finder = build_finder(args)
    limits = UploadLimits(round(args.max_mb * 2**20), round(args.max_megapixels * 1e6))
    store = SessionStore(args.keep / "uploads", list_given(given, args.keep / "corrections"))
    images = OpenImages(finder.image_format, finder.class_names)
    queue = PredictionQueue(finder, images, list_other_models(args, finder))
    inbox = Inbox(limits.max_bytes, DiskSpace(args.keep, round(args.max_gb * 2**30)))
    return PageService(store, queue, limits, inbox, args.score_thr)


def read_password(args: argparse.Namespace, is_local: bool) -> str | None:
    """Read the password of the page, which one on the network must have or be said not to have.

    Raises:
        CellsegError: If there is none, and --no-password is not given.
    """
    if args.password_file is not None:
        try:
            password = read_text(args.password_file).partition("\n")[0].strip()
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


def take_folder(keep: Path) -> FolderLock:
    """Make the folder that uploads and corrections are kept in, for this server alone.

    Raises:
        CellsegError: If it cannot be made, or another server uses it.
    """
    try:
        keep.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FolderLock(keep / _LOCK_NAME)
        is_free = lock.take()
    except OSError as error:
        raise CellsegError(f"--keep {keep} cannot be used: {error}") from error
    if not is_free:
        raise CellsegError(
            f"Another `cellseg web` uses the folder {keep}; end it, or give another with --keep."
        )
    return lock


def serve(args: argparse.Namespace) -> bool:
    """Serve the page until a signal; return whether all computing has ended."""
    from cellseg.web.app import build_app
    from cellseg.web.own_names import find_own_names
    from cellseg.web.server import address_of, is_loopback, listen, make_server

    names = find_own_names(args.host, args.allow_host)
    password = read_password(args, is_loopback(args.host))
    with listen(args.host, args.port) as listener:
        service = build_service(args)
        server = make_server(build_app(service, names, password))
        end_on_hang_up(server)
        write_result(f"Open {address_of(listener)} in a browser; Ctrl-C ends it.")
        try:
            with suppress(KeyboardInterrupt):  # which Uvicorn raises again once it has ended
                server.run(sockets=[listener])
        finally:
            is_idle = service.close()
    return bool(is_idle)


def run(args: argparse.Namespace) -> int:
    """Serve the page; what people have done stays in --keep."""
    require_packages()
    set_thread_counts()
    for number in (signal.SIGINT, signal.SIGTERM):  # both end it as Ctrl-C does
        signal.signal(number, signal.default_int_handler)
    lock = take_folder(args.keep)
    is_idle = True
    try:
        with suppress(KeyboardInterrupt):
            is_idle = serve(args)
    finally:
        lock.release()
    write_result(f"The page is closed; what was done is kept in {args.keep}.")
    if not is_idle:
        end_process()
    return 0


def end_process() -> None:
    """End at once: Python would abort, with a core dump, where a thread still computes."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(0)
