"""Signs of life of a run on many machines: one line on where it stands, every half minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from cellseg.cluster.orders import LargeImage, WorkerFacts
from cellseg.inference.image_list import InputImage
from cellseg.inference.image_work import ImageOutcome

Say = Callable[[str], None]
_EVERY_S = 30.0
_FIRST_S = 5.0


class CohortProgress:
    """Count what is done, and say so at least every half minute.

    Args:
        images: How many images the run has.
        say: Called with each line.
        clock: Seconds that only go up.
    """

    def __init__(self, images: int, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock."""
        self._images = images
        self._say = say
        self._clock = clock
        self._begin = clock()
        self._next = self._begin + _FIRST_S
        self._finished = self._resumed = self._failed = self._cells = 0
        self._megapixels = 0.0
        self._sizes: list[float] = []
        self._open: dict[str, tuple[LargeImage, int]] = {}

    def add_image(self, outcome: ImageOutcome) -> None:
        """Note an image that is finished, or has failed."""
        self._open.pop(outcome.name, None)
        self._finished += 1
        if outcome.resumed:
            self._resumed += 1
            return
        self._failed += outcome.error is not None
        self._cells += outcome.cells
        self._megapixels += outcome.height * outcome.width / 1e6

    def add_large(self, image: InputImage, large: LargeImage) -> None:
        """Note an image that is done in parts."""
        self._open[image.name] = (large, 0)

    def add_batches(self, image: InputImage, batches: int) -> None:
        """Note a part that is done."""
        large, done = self._open[image.name]
        self._open[image.name] = (large, done + batches)

    def tell_waiting(self, found: int, wanted: int | None) -> None:
        """Say that workers are not there yet."""
        if self._is_time():
            of = "" if wanted is None else f" ({found} of {wanted} are there)"
            self._say(f"Waiting for workers{of}, {self._elapsed()} so far.")

    def tell_checking(self) -> None:
        """Say that the workers are being checked."""
        if self._is_time():
            self._say(f"Workers are loading PyTorch, {self._elapsed()} so far.")

    def tell_refusal(self, reason: str) -> None:
        """Say that a worker does not fit, and that the others go on."""
        self._say(f"{reason} This worker is left out.")

    def tell_workers(self, facts: Sequence[WorkerFacts]) -> None:
        """Say which workers there are at the start."""
        kinds = sorted({f"{count_of(fact.threads, 'thread')} on {fact.device}" for fact in facts})
        hosts = sorted({fact.worker.partition("/")[0] for fact in facts})
        self._say(
            f"{count_of(len(facts), 'worker')} ({'; '.join(kinds)}) on "
            f"{count_of(len(hosts), 'machine')}: "
            f"{', '.join(hosts[:8])}{', ...' if len(hosts) > 8 else ''}."
        )

    def tick(self, workers: int, wanted: int | None) -> None:
        """Say where the run stands, if it is time for it."""
        if self._is_time():
            self._say(self.describe(workers, wanted))

    def describe(self, workers: int, wanted: int | None = None) -> str:
        """Write where the run stands as one line."""
        megapixels = self._megapixels + self._open_megapixels()
        parts = [
            f"{self._finished} of {self._images} images",
            f"{megapixels:,.0f} Mpx",
            f"{self._cells:,} cells",
            f"{self._time_left()} left",
            count_of(workers, "worker") if wanted is None else f"{workers} of {wanted} workers",
            f"{self._failed} failed",
        ]
        return ", ".join(parts)

    def _open_megapixels(self) -> float:
        """Return what is done of the images that are done in parts."""
        return sum(
            large.megapixels * done / max(large.num_batches, 1)
            for large, done in self._open.values()
        )

    def _time_left(self) -> str:
        """Estimate the time left from the share of the images that is done."""
        done = self._finished - self._resumed
        done_share = done + sum(
            batches / max(large.num_batches, 1) for large, batches in self._open.values()
        )
        todo = self._images - self._resumed
        if done_share <= 0:
            return "unknown time"
        seconds = (self._clock() - self._begin) * (todo - done_share) / done_share
        return format_seconds(seconds)

    def _elapsed(self) -> str:
        return format_seconds(self._clock() - self._begin)

    def _is_time(self) -> bool:
        """Return whether the next line is due."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + _EVERY_S
        return True


def count_of(number: int, noun: str) -> str:
    """Write a number of things, such as `1 worker`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_seconds(seconds: float) -> str:
    """Write a time as 42 s, 5 min or 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
