"""What holds a file open until a `with` block ends."""

from contextlib import AbstractContextManager
from types import TracebackType


class Closable(AbstractContextManager):
    """An object with a file to close, where it has one; a context manager that does so."""

    def close(self) -> None:
        """Close the file, where there is one."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()
