"""Both ways to give the model mean the same, and the help names what the writers have."""

from pathlib import Path

import pytest

from cellseg.cli import predict
from cellseg.cli.running import build_parser
from cellseg.errors import CellsegError
from cellseg.formats.outputs import FORMATS


def test_predict_when_given_in_either_order_then_the_same_arguments() -> None:
    command = build_parser(predict.__doc__, predict.add_arguments)
    tool = build_parser(predict.__doc__, predict.add_tool_arguments)
    rest = ["--out", "out", "--format", "csv", "--ensemble", "b.pth", "c.py:d.pth"]
    ours = command.parse_args(["a.tif", "b/", "--config", "c", "--checkpoint", "w.pth", *rest])
    theirs = tool.parse_args(["c", "w.pth", "a.tif", "b/", *rest])
    assert vars(ours).pop("model") is None
    assert vars(ours) == vars(theirs)
    assert ours.ensemble == [(None, "b.pth"), ("c.py", "d.pth")]


CONFIG = "mask-rcnn_r18_small-anchor"


@pytest.mark.parametrize(
    ("words", "config", "checkpoint"),
    [
        ([], None, None),
        (["--model", "nuclei-he"], "nuclei-he", None),
        (["--model", "w.pth"], "w.pth", None),
        (["--checkpoint", "w.pth"], None, "w.pth"),
        (["--model", "w.pth", "--config", CONFIG], CONFIG, "w.pth"),
        (["--checkpoint", "w.pth", "--config", CONFIG], CONFIG, "w.pth"),
    ],
)
def test_predict_when_the_model_is_given_then_any_way_will_do(words, config, checkpoint) -> None:
    args = build_parser("", predict.add_arguments).parse_args(["a.tif", *words])
    predict.settle_model(args)
    assert (args.config and Path(args.config).stem) == (config and Path(config).stem)
    assert args.checkpoint == checkpoint
    assert args.out == Path("predictions")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--model", "a", "--checkpoint", "b"], "both name the weights"),
        (["--config", CONFIG], "give --checkpoint"),
        (["--config", "nowhere", "--checkpoint", "b"], "There is no config nowhere"),
    ],
)
def test_predict_when_model_flags_contradict_then_one_sentence(words, reason: str) -> None:
    args = build_parser("", predict.add_arguments).parse_args(["a.tif", *words])
    with pytest.raises(CellsegError, match=reason):
        predict.settle_model(args)


def test_formats_always_are_those_of_the_writers() -> None:
    assert {name: kind.purpose for name, kind in FORMATS.items()} == predict.FORMATS


def test_scales_when_listed_then_without_what_one_image_has() -> None:
    from cellseg.cli.tasks.predict import shorten_scale

    text = "scale 1.6 (as in training: its pixel size is unknown; cells are about 17 px wide)"
    assert shorten_scale(text) == "scale 1.6 (as in training)"
    text = "scale 3.2 (0.5 um per pixel, 0.25 in training)"
    assert shorten_scale(text) == text
    assert shorten_scale("scale 0.955 (its pixel size is unknown; cells are about 31 px)") == (
        "scale 0.955 (its pixel size is unknown)"
    )
