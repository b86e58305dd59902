"""A scheduler and workers that no client has started, and waiting for things to happen."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from .conftest import make_env


def wait_for(what: Callable[[], object], seconds: float = 480) -> object:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError


class Outside:
    """A scheduler and two workers as processes, which no run has started."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self.log = folder / "dask.log"
        self.processes: list[subprocess.Popen] = []

    def start(self) -> None:
        """Start them, also again after one was killed."""
        self.stop()
        self.file.unlink(missing_ok=True)
        there = ("--scheduler-file", str(self.file), "--host", "127.0.0.1", "--no-dashboard")
        self._run("scheduler", *there, "--port", "0")
        wait_for(self.file.exists, 60)
        self._run("worker", *there, "--nworkers", "2", "--nthreads", "1")

    def _run(self, *command: str) -> None:
        with self.log.open("a") as log:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "dask", *command],
                    env=make_env(),
                    stdout=log,
                    stderr=log,
                )
            )

    def kill_scheduler(self) -> None:
        scheduler = self.processes.pop(0)
        scheduler.kill()
        scheduler.wait()

    def stop(self) -> None:
        """End all of them, the workers that the second process has started among them."""
        for process in self.processes:
            family = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            process.wait(60)
            _, alive = psutil.wait_procs(family, timeout=60)
            assert alive == []
        self.processes.clear()
