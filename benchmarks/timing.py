"""Time a work, several in turns, or the named parts of one."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], Any]
Clock = Callable[[], float]


def synchronize(device: str) -> None:
    """Wait until a device has done all it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def time_once(work: Work, device: str = "cpu", now: Clock = time.perf_counter) -> float:
    """Run a work; return the seconds until the device has done it."""
    synchronize(device)
    begin = now()
    work()
    synchronize(device)
    return now() - begin


def time_in_turns(workloads: Mapping[str, Work], repeats: int) -> dict[str, list[float]]:
    """Run workloads one after another, `repeats` times; returns the seconds of each run."""
    seconds: dict[str, list[float]] = {name: [] for name in workloads}
    for _ in range(repeats):
        for name, run in workloads.items():
            seconds[name].append(time_once(run))
    return seconds


def read_memory_gb(field: str) -> float:
    """Read a field of /proc/self/status, such as VmHWM, in 1e9 bytes."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024 / 1e9
    raise RuntimeError(f"This system's /proc/self/status has no {field}; use Linux.")


class PartClock:
    """Adds up the time of named methods; a method within another one counts for itself alone.

    The device is waited for at the start and end of each, so that the whole takes longer than it
    does without the clock.

    Args:
        device: "cuda" or "cpu".
        now: Gives the time in seconds; time.process_time is disturbed least by other programs.
    """

    def __init__(self, device: str, now: Clock = time.perf_counter) -> None:
        """Watch nothing yet."""
        self.device, self._now = device, now
        self.ms: dict[str, float] = {}
        self._inner: list[float] = [0.0]
        self._watched: list[tuple[Any, str]] = []

    def watch(self, holder: Any, method: str, title: str) -> None:
        """Count the time of holder.method under a title."""
        original = getattr(holder, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            synchronize(self.device)
            begin = self._now()
            self._inner.append(0.0)
            try:
                return original(*args, **kwargs)
            finally:
                synchronize(self.device)
                spent = 1000 * (self._now() - begin)
                self.ms[title] = self.ms.get(title, 0.0) + spent - self._inner.pop()
                self._inner[-1] += spent

        setattr(holder, method, timed)
        self._watched.append((holder, method))

    def run(self, work: Work, rest: str = "everything else") -> dict[str, float]:
        """Run a work once; return milliseconds by title, the longest first."""
        self.ms, self._inner = {}, [0.0]
        whole = 1000 * time_once(work, self.device, self._now)
        self.ms[rest] = max(whole - self._inner[0], 0.0)
        return dict(sorted(self.ms.items(), key=lambda item: -item[1]))

    def release(self) -> None:
        """Watch nothing any more."""
        for holder, method in self._watched:
            delattr(holder, method)
        self._watched = []
