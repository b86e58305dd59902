"""The workers of a run: waited for, checked, and left out by name where they do not fit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path

from distributed import Client

from cellseg.cluster.orders import WorkerFacts, WorkOrder
from cellseg.cluster.progress import CohortProgress
from cellseg.cluster.worker import check_worker
from cellseg.errors import CellsegError
from cellseg.inference.image_list import InputImage

TICK_S = 1.0
_MOMENT_S = 30.0  # that further workers get once one is there; later ones are checked as they come
_MOST_SAMPLES = 32  # folders of images that workers look into before they start


class Crew:
    """The workers that a run may use.

    Args:
        client: Connected to a scheduler.
        order: What is alike for all units of the run.
        progress: Gets the signs of life.
    """

    def __init__(self, client: Client, order: WorkOrder, progress: CohortProgress) -> None:
        """Start without demands."""
        self.client = client
        self._order = order
        self._progress = progress
        self._wanted: int | None = None
        self._samples: tuple[Path, ...] = ()
        self._refused: dict[str, str] = {}

    def expect(self, wanted: int | None, images: Sequence[InputImage]) -> None:
        """Set what the run needs.

        Args:
            wanted: How many workers there should be; None where that is not known.
            images: What they will read; one image of each folder is a sample.
        """
        self._wanted = wanted
        self._samples = choose_samples(images)

    @property
    def wanted(self) -> int | None:
        """How many workers there should be, without those that were left out."""
        return None if self._wanted is None else max(0, self._wanted - len(self._refused))

    def count(self) -> int:
        """Count the workers that are there now; 0 where the scheduler does not answer."""
        return len(self._list())

    def wait(self) -> None:
        """Wait until a worker is there, and a moment for the others, with a sign of life."""
        wanted, moment = self.wanted, _MOMENT_S
        while (found := self.count()) < (wanted or 1) and moment > 0:
            moment -= TICK_S if found else 0
            self._progress.tell_waiting(found, wanted)
            with contextlib.suppress(TimeoutError):
                self.client.wait_for_workers(wanted or 1, timeout=TICK_S)

    def check(self) -> None:
        """Ask every worker whether it fits, and leave out those that do not.

        Raises:
            CellsegError: If none is left.
        """
        with ThreadPoolExecutor(1) as asking:
            answer = asking.submit(
                self.client.run, check_worker, self._order, self._samples, on_error="return"
            )
            while not wait([answer], timeout=TICK_S).done:  # a worker may take minutes to import
                self._progress.tell_checking()
        facts: dict[str, WorkerFacts | BaseException] = answer.result()
        refusals, fitting, there = {}, [], self._list()
        for address, fact in sorted(facts.items()):
            if isinstance(fact, OSError) and address not in there:  # it is gone
                continue
            if isinstance(fact, BaseException):
                refusals[address] = (
                    f"The worker at {address} cannot run cellseg ({fact}); install the same "
                    "version there."
                )
            elif fact.refusal:
                refusals[address] = fact.refusal
            else:
                fitting.append(fact)
        self.leave_out(refusals)
        if fitting:
            self._progress.tell_workers(fitting)

    def leave_out(self, refusals: Mapping[str, str]) -> None:
        """Retire workers that do not fit, so that the scheduler gives them no units.

        Args:
            refusals: Why, by the worker's address.

        Raises:
            CellsegError: If no worker is left, and none is still to come.
        """
        new = {address: why for address, why in refusals.items() if address not in self._refused}
        if not new:
            return
        self._refused.update(new)
        reasons = list(dict.fromkeys(new.values()))
        if not (set(self._list()) - set(self._refused)) and not self.wanted:
            raise CellsegError(reasons[0])
        for reason in reasons:
            self._progress.tell_refusal(reason)
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            self.client.retire_workers(list(new))

    def _list(self) -> list[str]:
        """List the addresses of the workers that are there now."""
        try:
            return list(self.client.nthreads())
        except (OSError, TimeoutError, ValueError):
            return []


def choose_samples(images: Sequence[InputImage]) -> tuple[Path, ...]:
    """Choose one image of each folder, among those that can be read here.

    Args:
        images: The images of a run; those by URL are left out.

    Returns:
        Their paths, of the first folders only.
    """
    first: dict[Path, Path] = {}
    for image in images:
        if image.url is None:
            first.setdefault(image.path.parent, image.path)
    return tuple(path for path in islice(first.values(), _MOST_SAMPLES) if os.access(path, os.R_OK))
