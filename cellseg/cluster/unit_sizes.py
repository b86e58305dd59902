"""How large units are: from how long the first ones took."""

from __future__ import annotations

_TARGET_S = 60.0  # of a unit: long against a round trip, short against a lost worker
_LONGEST_S = 120.0
_FIRST_BATCHES = 16  # of a unit before anything is known
_FADE = 0.9  # how much of what was measured before counts beside a new unit
_PARTS_EACH = 2  # of a large image per worker, so that a slow one does not hold up the others
_BATCHES_EACH = 4  # an image of at least so many batches per idle worker is shared out


class UnitSizes:
    """Choose the size of units by the time per batch of those that are done."""

    def __init__(self) -> None:
        """Start without measurements."""
        self._seconds = 0.0
        self._batches = 0.0

    def add(self, batches: int, seconds: float) -> None:
        """Note a unit that is done."""
        self._seconds = self._seconds * _FADE + seconds
        self._batches = self._batches * _FADE + batches

    def most_batches_alone(self, images_left: int, workers: int) -> int:
        """Return from how many batches on an image is done in parts.

        Args:
            images_left: Images that no worker has yet.
            workers: Workers that are there.

        Returns:
            The most batches of an image that one worker does alone.
        """
        most = self._batches_in(_LONGEST_S)
        if images_left < workers:
            most = min(most, _BATCHES_EACH * workers)
        return max(most, 1)

    def most_batches_of_part(self, num_batches: int, workers: int) -> int:
        """Return the most batches of a part of an image of so many batches."""
        each = -(-num_batches // (max(workers, 1) * _PARTS_EACH))
        return max(1, min(self._batches_in(_TARGET_S), each))

    def _batches_in(self, seconds: float) -> int:
        """Return how many batches take so long."""
        if not self._batches or self._seconds <= 0:
            return _FIRST_BATCHES
        return int(seconds * self._batches / self._seconds)
