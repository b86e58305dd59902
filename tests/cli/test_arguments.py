"""Shared flags keep what was typed and refuse what cannot be meant."""

import argparse

import pytest

from cellseg.cli.arguments import add_config_options, add_runner_arguments


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_runner_arguments(parser)
    return parser.parse_args(words)


def test_cfg_options_when_given_twice_then_all_are_kept_as_typed() -> None:
    args = parse("--cfg-options", "a=1", "b=[x,y]", "--cfg-options", "a=2")
    assert args.cfg_options == ["a=1", "b=[x,y]", "a=2"]
    assert parse().cfg_options is None


@pytest.mark.parametrize("word", ["batch_size", "=4"])
def test_cfg_options_when_not_key_and_value_then_usage_error(capsys, word: str) -> None:
    with pytest.raises(SystemExit) as end:
        parse("--cfg-options", word)
    assert end.value.code == 2
    assert f"{word!r} is not key=value, such as train" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--local_rank", "--local-rank"])
def test_rank_when_a_launcher_gives_it_then_taken_and_hidden(flag: str) -> None:
    assert parse(flag, "2").local_rank == 2
    parser = argparse.ArgumentParser()
    add_config_options(parser)
    add_runner_arguments_help = parser.format_help()
    assert "local" not in add_runner_arguments_help
