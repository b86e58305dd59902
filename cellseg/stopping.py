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
from typing import Any

STOP_SIGNALS = tuple(  # Windows has no SIGHUP, and SIGBREAK in its place
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
_LOST_AFTER_S = 1.0
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


class StopRecord:
    """The stop signals that came while a block ran."""

    def __init__(self) -> None:
        """Begin without one."""
        self.last: int | None = None
        self._ended = threading.Event()

    def make_stop(self) -> BaseException | None:
        """Return what the last signal raised, None if none came."""
        return None if self.last is None else _make_stop(self.last)

    def close(self) -> None:
        """Note that the block has ended."""
        self._ended.set()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: raise what ends the block."""
        self.last = number
        threading.Thread(target=self._repeat_if_lost, args=(number,), daemon=True).start()
        raise _make_stop(number)

    def _repeat_if_lost(self, number: int) -> None:
        """Send a signal again if the main thread goes on as if it had not come.

        Python drops what is raised in a callback of a weak reference or a `__del__`, and imports
        have thousands of the former; other libraries have a bare `except`.
        """
        while not self._ended.wait(_LOST_AFTER_S):
            if not _is_main_thread_ending():
                _send_to_main_thread(number)  # the handler watches again
                return


def _make_stop(number: int) -> BaseException:
    """Make what a signal raises."""
    return KeyboardInterrupt() if number == signal.SIGINT else StoppedError(number)


def _send_to_main_thread(number: int) -> None:
    """Send a signal to this process, and wake the main thread where the system can."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:  # Windows, where os.kill would end the process
        signal.raise_signal(number)


def _is_main_thread_ending() -> bool:
    """Return whether the main thread unwinds a stop: one is handled in a `finally` or the like."""
    handled: Any = sys._current_exceptions().get(threading.main_thread().ident or 0)
    error = handled[1] if isinstance(handled, tuple) else handled  # a tuple in Python 3.11
    while error is not None:
        if isinstance(error, KeyboardInterrupt | StoppedError):
            return True
        error = error.__context__
    return False


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRecord]:
    """Raise StoppedError where a stop signal comes inside the block, KeyboardInterrupt for SIGINT.

    Where a library swallows the exception, the signal is sent again after a second. A signal that
    is ignored, as SIGHUP is under nohup, or has a handler already, is left alone, and so are all of
    them outside the main thread.

    Yields:
        The signals that came.
    """
    before, record = {}, StopRecord()
    if threading.current_thread() is threading.main_thread():
        for number in (*STOP_SIGNALS, signal.SIGINT):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, record.handle)
    try:
        yield record
    finally:
        record.close()
        for number, handler in before.items():
            signal.signal(number, handler)


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
