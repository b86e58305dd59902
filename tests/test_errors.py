"""Errors that a tool shows as a sentence."""

import pytest

from cellseg.errors import CellsegError, as_cellseg_error


def test_as_cellseg_error_when_data_do_not_fit_then_the_text_is_kept() -> None:
    with pytest.raises(CellsegError, match=r"^a\.json: no such class$"):  # noqa: SIM117
        with as_cellseg_error(where="a.json: "):
            raise ValueError("no such class")


def test_as_cellseg_error_when_the_kind_is_another_then_left_alone() -> None:
    with pytest.raises(KeyError), as_cellseg_error((ValueError, TypeError)):
        raise KeyError("x")
