"""End a run of several processes in a sentence when one of them is gone."""

from __future__ import annotations

import atexit
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import distributed

from cellseg.engine.process_identity import identify_process
from cellseg.errors import LostProcessError

LOST = (
    "Another process of this run has ended before its time, so that this one cannot go on; look at "
    "what it printed, and run the same command again (train with --resume)."
)
_LOST_CONNECTION = re.compile(r"gloo|closed by peer|reset by peer|broken pipe|NCCL", re.I)
_POLL_S = 5.0
_GRACE_S = 20.0  # a process that ended well may leave others to finish


@contextmanager
def name_lost_process() -> Iterator[None]:
    """Turn the failure of a connection between the processes into a LostProcessError."""
    try:
        yield
    except RuntimeError as error:
        if distributed.is_initialized() and _LOST_CONNECTION.search(str(error)):
            raise LostProcessError(LOST) from error
        raise


def watch_processes() -> None:
    """Watch the other processes of the group on this machine, until this one ends.

    A process that waits for one that was killed is not always told of it. Only Linux is watched,
    where looking costs nothing.
    """
    if not Path("/proc/self/stat").exists():
        return
    own = (socket.gethostname(), identify_process(os.getpid()))
    everyone: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyone, own)
    others = [name for host, name in everyone if host == own[0] and name and name != own[1]]
    ended = threading.Event()
    threading.Thread(target=_watch, args=(others, ended), daemon=True).start()
    atexit.register(_end, ended, own[1])


def _watch(others: Sequence[str], ended: threading.Event) -> None:
    """End this process when another one has gone without a word."""
    while not ended.wait(_POLL_S):
        lost = [name for name in others if identify_process(int(name.split()[0])) != name]
        if lost and not ended.wait(_GRACE_S) and not all(map(_has_ended_well, lost)):
            sys.stderr.write(f"\nerror: {LOST}\n")
            sys.stderr.flush()
            os._exit(1)


def _end(ended: threading.Event, name: str) -> None:
    """Leave word that this process has come to its end."""
    ended.set()
    with suppress(Exception):  # the one that keeps the words may have ended already
        _find_store().set(_make_key(name), "ended")


def _has_ended_well(name: str) -> bool:
    """Return whether a process that is gone has left word."""
    try:
        return bool(_find_store().check([_make_key(name)]))
    except Exception:
        return False


def _find_store() -> Any:
    """Return the store through which the processes met."""
    return distributed.distributed_c10d._get_default_store()


def _make_key(name: str) -> str:
    """Name the word that a process leaves."""
    return f"cellseg_ended_{name.replace(' ', '_')}"
