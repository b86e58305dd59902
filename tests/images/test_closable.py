"""Files are closed when their block ends, whatever ends it."""

import pytest

from cellseg.images.closable import Closable


class Counted(Closable):
    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_closable_when_block_ends_is_closed_once() -> None:
    with Counted() as file:
        assert file.closed == 0
    assert file.closed == 1


def test_closable_when_block_fails_is_closed_and_error_passes() -> None:
    file = Counted()
    with pytest.raises(KeyError), file:
        raise KeyError
    assert file.closed == 1
