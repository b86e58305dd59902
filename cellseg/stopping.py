"""End cleanly on signals, and let no process outlive the one that forked or started it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType

STOP_SIGNALS = tuple(  # Windows has no SIGHUP, and SIGBREAK in its place
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
_START_BOUND = """
import ctypes, os, sys
option, number, parent, *command = sys.argv[1:]
ctypes.CDLL(None).prctl(int(option), int(number))
if os.getppid() != int(parent):
    sys.exit(128 + int(number))  # it has died in between
os.execvp(command[0], command)
"""


class StoppedError(SystemExit):
    """A stop signal has come; like the signal, it ends the program, but through every `finally`.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        """Set the exit status that shells give to such an end."""
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


@contextlib.contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise StoppedError where a stop signal comes inside the block.

    A signal that is ignored, as SIGHUP is under nohup, or has a handler already, is left alone, and
    so are all of them outside the main thread.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    """Handle a signal."""
    raise StoppedError(number)


def end_forks_with_parent() -> None:
    """Let the system kill the processes that this one forks when it ends, where Linux can.

    Data loaders' workers otherwise wait for a parent that was killed. Processes that are forked in
    a thread are left alone, since to Linux the thread is the parent.
    """
    if not sys.platform.startswith("linux") or _Forks.is_watched:
        return
    _Forks.is_watched = True
    os.register_at_fork(before=_Forks.note, after_in_child=_Forks.bind)


def bind_command(command: Sequence[str], number: int = signal.SIGTERM) -> list[str]:
    """Let the system send a signal to a command when the one who starts it dies, where Linux can.

    Args:
        command: Program and arguments.
        number: The signal.

    Returns:
        The command to start in its place, by this process and a thread that waits for its end: to
        Linux the thread is the parent. It becomes the command, with the same process id.
    """
    if not sys.platform.startswith("linux"):
        return list(command)
    facts = [str(int(value)) for value in (_SET_PARENT_DEATH_SIGNAL, number, os.getpid())]
    return [sys.executable, "-I", "-S", "-c", _START_BOUND, *facts, *command]


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write an error of a forked process, unless it is that the parent hangs up as it ends."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


class _Forks:
    """What must be known before a fork to bind the child to its parent."""

    is_watched = False
    parent = 0

    @classmethod
    def note(cls) -> None:
        """Note who forks, 0 for a thread."""
        is_main = threading.current_thread() is threading.main_thread()
        cls.parent = os.getpid() if is_main else 0

    @classmethod
    def bind(cls) -> None:
        """Ask for a signal at the parent's death, in the child."""
        if not cls.parent:
            return
        sys.excepthook = _report
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != cls.parent:  # it has died in between
            os._exit(1)
