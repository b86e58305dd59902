"""The one kind of error that a tool shows as a sentence instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class CellsegError(Exception):
    """A mistake that the user can fix; the text says what is wrong and how to fix it."""


class CellDataError(CellsegError, ValueError):
    """Say which data file cannot be used and what to do about it."""


class LostProcessError(CellsegError):
    """Another process of the run is gone, so that this one cannot even end in order."""


@contextmanager
def as_cellseg_error(
    kinds: type[Exception] | tuple[type[Exception], ...] = ValueError, where: str = ""
) -> Iterator[None]:
    """Turn errors of some kinds, raised where data do not fit, into a CellsegError.

    Args:
        kinds: Which errors.
        where: Put in front of their text.

    Raises:
        CellsegError: If one is raised inside.
    """
    try:
        yield
    except kinds as error:
        raise CellsegError(f"{where}{error}") from error
