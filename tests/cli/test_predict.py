"""Both ways to give the model mean the same, and the help names what the writers have."""

import pytest

from cellseg.cli import predict
from cellseg.cli.running import build_parser
from cellseg.formats.outputs import FORMATS


def test_predict_when_given_in_either_order_then_the_same_arguments() -> None:
    command = build_parser(predict.__doc__, predict.add_arguments)
    tool = build_parser(predict.__doc__, predict.add_tool_arguments)
    rest = ["--out", "out", "--format", "csv", "--ensemble", "b.pth", "c.py:d.pth"]
    ours = command.parse_args(["a.tif", "b/", "--config", "c", "--checkpoint", "w.pth", *rest])
    theirs = tool.parse_args(["c", "w.pth", "a.tif", "b/", *rest])
    assert vars(ours) == vars(theirs)
    assert ours.ensemble == [(None, "b.pth"), ("c.py", "d.pth")]


@pytest.mark.parametrize("flag", ["--config", "--checkpoint", "--out"])
def test_predict_when_something_is_missing_then_usage_error_names_it(capsys, flag: str) -> None:
    given = {"--config": "c", "--checkpoint": "w.pth", "--out": "out"}
    words = [word for pair in given.items() if pair[0] != flag for word in pair]
    with pytest.raises(SystemExit) as end:
        build_parser("", predict.add_arguments).parse_args(["a.tif", *words])
    assert end.value.code == 2
    assert flag in capsys.readouterr().err.splitlines()[-1]


def test_formats_always_are_those_of_the_writers() -> None:
    assert {name: kind.purpose for name, kind in FORMATS.items()} == predict.FORMATS
