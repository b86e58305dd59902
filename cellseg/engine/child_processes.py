"""Run tools as child processes that end with their parent and have their folder to themselves."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from cellseg.engine.process_identity import identify_process
from cellseg.errors import CellsegError
from cellseg.file_locks import open_lock_file, try_lock
from cellseg.stopping import bind_command, stop_on_signals

_LOCK_NAME = ".in_use"


class ChildProcesses:
    """Run commands, several at a time if called from several threads; none outlives the block.

    A stop signal ends the block, and with it the commands and the processes that these started:
    data loaders left alone would wait forever. Should this process be killed outright, Linux sends
    SIGTERM to the commands; on other systems they go on. Until a command has ended, its folder
    stays in use, so that no second one trains in it meanwhile.

    Args:
        threads: Threads of each command (OMP_NUM_THREADS); None leaves that to the command.
    """

    def __init__(self, threads: int | None = None) -> None:
        """Keep the settings."""
        self.threads = threads
        self._running: set[subprocess.Popen] = set()
        self._guard = threading.Lock()
        self._closed = False
        self._signals = stop_on_signals()

    def __enter__(self) -> Self:
        """Let stop signals end the block where no other handler is set."""
        self._signals.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what still runs."""
        with self._guard:
            self._closed = True
            running = list(self._running)
        for process in running:
            _terminate(process)  # all at once; a command may take its time to end
        for process in running:
            _end_group(process)
        self._signals.__exit__(None, None, None)

    def run(self, command: Sequence[str], folder: Path, log: Path | None = None) -> None:
        """Run a command that works in a folder, and wait for its end.

        Args:
            command: Program and arguments.
            folder: The folder that no other command may work in meanwhile; made if absent.
            log: Where to append what it prints; None shows it.

        Raises:
            CellsegError: If the folder is in use, the block has ended, or the command fails.
        """
        with ExitStack() as files:
            lock = _hold(folder, files)
            output = files.enter_context(log.open("a", encoding="utf-8")) if log else None
            with self._guard:
                if self._closed:
                    raise CellsegError(f"{_name(command)} was not started: this program is ending.")
                process = subprocess.Popen(
                    bind_command(command),
                    stdout=output,
                    stderr=output,
                    env=self._environment(),
                    start_new_session=True,  # a group of its own, to end it as a whole
                )
                self._running.add(process)
            lock.write(identify_process(process.pid).encode())
            try:
                status = process.wait()
            finally:
                _end_group(process)
                self._running.discard(process)
        if status:
            where = f"{log} has its output" if log else "what it printed stands above"
            raise CellsegError(
                f"{_name(command)} failed in {folder}; {where}. Run the same command again to "
                "go on."
            )

    def _environment(self) -> dict[str, str] | None:
        if self.threads is None:
            return None
        number = str(self.threads)
        return {**os.environ, "OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number}


def _name(command: Sequence[str]) -> str:
    """Name a command by its script, or by its module and what follows."""
    if "-m" in command:
        start = command.index("-m") + 1
        return " ".join(command[start : start + 2])
    return command[1]


def _hold(folder: Path, files: ExitStack) -> BinaryIO:
    """Take a folder until the files are closed.

    Returns:
        An empty file, to write into who works in the folder.

    Raises:
        CellsegError: If another process has it, a command that outlived its parent works there, or
            its lock file cannot be opened.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _LOCK_NAME
    try:
        lock = files.enter_context(open_lock_file(path))
    except OSError as error:
        raise CellsegError(f"{path} cannot be opened ({error.strerror}); remove it.") from error
    if not try_lock(lock):
        raise _refuse(folder, "Another process")
    owner = lock.read().decode("utf-8", "replace")
    pid = owner.partition(" ")[0]
    if pid.isdigit() and identify_process(int(pid)) == owner:
        raise _refuse(folder, f"The process {pid}")
    lock.seek(0)
    lock.truncate()
    return lock


def _refuse(folder: Path, who: str) -> CellsegError:
    return CellsegError(f"{who} works in {folder}; wait for its end, or end it, and start again.")


def _terminate(process: subprocess.Popen) -> None:
    """Ask a command to end; where there are no process groups, end what it started with it."""
    if not hasattr(os, "killpg") and process.poll() is None:
        tree = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        with contextlib.suppress(OSError):
            subprocess.run(tree, capture_output=True, check=False)
    process.terminate()


def _end_group(process: subprocess.Popen) -> None:
    """End a command, if it still runs, and what it left behind."""
    if process.poll() is None:
        _terminate(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
