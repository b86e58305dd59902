"""Options are read as MMEngine reads them, but for the white space in single values."""

import argparse
from typing import Any

import pytest
from mmengine.config import DictAction

from cellseg.engine.options_action import OptionsAction


def parse(word: str, action: type[argparse.Action] = OptionsAction) -> Any:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=action)
    return parser.parse_args(["--cfg-options", f"key={word}"]).cfg_options["key"]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        (r"C:\Users\Ada Lovelace\cells", r"C:\Users\Ada Lovelace\cells"),
        ("'my data/train'", "my data/train"),
        ("a  b", "a  b"),
        (r"C:\Program Files (x86)\x", r"C:\Program Files (x86)\x"),
    ],
)
def test_value_when_it_holds_white_space_then_that_stays(word: str, value: str) -> None:
    assert parse(word) == value


@pytest.mark.parametrize(
    "word",
    ["4", " 4 ", "0.5", "1e-3", "True", "false", "None", "", "text", "'text'", '"7"', "a=b"]
    + ["1,2,3", "[a, b]", "[(1, 2), [a, b]]", "(1, 2)", "a b,c", "[a]", "(4)", "[]"],
)
def test_value_when_it_holds_none_or_is_a_list_then_as_mmengine_reads_it(word: str) -> None:
    value, expected = parse(word), parse(word, DictAction)
    assert value == expected
    assert type(value) is type(expected)
