"""Ids and flags of COCO files, as other programs spell them."""

from typing import Any

import pytest

from cellseg.errors import CellDataError
from cellseg.formats.coco_values import read_flag, read_id, read_size, sort_key

DIGITS = "9" * 5000  # which Python refuses to make a number of


@pytest.mark.parametrize("value", [7, 7.0, "7", " 7 ", "7.0", "7.00"])
def test_id_when_it_is_seven_in_any_spelling_then_seven(value: Any) -> None:
    assert read_id(value, "x") == 7
    assert read_size(value) == 7


@pytest.mark.parametrize(
    ("value", "expected"),
    [("07", "07"), ("img_1 ", "img_1"), ("-3", -3), ("1e3", "1e3"), (0, 0), (DIGITS, DIGITS)],
)
def test_id_when_it_is_text_then_its_own(value: Any, expected: Any) -> None:
    assert read_id(value, "x") == expected


@pytest.mark.parametrize("value", [None, True, 1.5, "", "  ", [1], float("nan"), float("inf")])
def test_id_when_neither_number_nor_text_then_refused(value: Any) -> None:
    with pytest.raises(CellDataError, match="where id .* is neither a whole number nor a text"):
        read_id(value, "where id")
    assert read_size(value) is value


@pytest.mark.parametrize("value", [1, True, 1.0, "1", "true", " TRUE "])
def test_flag_when_yes_in_any_spelling_then_true(value: Any) -> None:
    assert read_flag(value, "x") is True


@pytest.mark.parametrize("value", [0, False, None, "0", "false", "", "None"])
def test_flag_when_no_in_any_spelling_then_false(value: Any) -> None:
    assert read_flag(value, "x") is False


@pytest.mark.parametrize("value", [2, "yes?", [], 0.5])
def test_flag_when_neither_then_refused(value: Any) -> None:
    with pytest.raises(CellDataError, match="iscrowd is .*; write 0 or 1"):
        read_flag(value, "iscrowd")


def test_ids_when_sorted_then_numbers_by_value_before_texts() -> None:
    assert sorted(["b", 10, "a", 9, -1], key=sort_key) == [-1, 9, 10, "a", "b"]


def test_value_when_endless_then_the_message_is_not() -> None:
    for read in (read_id, read_flag):
        with pytest.raises(CellDataError) as caught:
            read(["x" * 10_000], "it")
        assert len(str(caught.value)) < 200
