"""The command finds its subcommands, and says what is wrong in one sentence."""

import sys
from pathlib import Path

import pytest

import cellseg
from cellseg.cli import main as module
from cellseg.cli.main import COMMANDS, build_parser, load_command, main
from cellseg.cli.running import first_line
from cellseg.errors import CellsegError

ROOT = Path(__file__).resolve().parents[2]


def test_help_when_asked_for_then_it_has_a_line_for_each_command(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    for name in COMMANDS:
        summary = first_line(load_command(name).__doc__)
        assert summary.endswith((".", ":"))
        assert f" {name} {summary}" in said


def test_commands_always_are_the_modules_of_the_package() -> None:
    folder = Path(module.__file__).parent
    parts = {"__init__", "main", "arguments", "running"}
    found = {path.stem.replace("_", "-") for path in folder.glob("*.py") if path.stem not in parts}
    assert found == set(COMMANDS)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("trian", "did you mean train?"),
        ("anchor_recall", "did you mean anchor-recall?"),
        ("zzz", "`cellseg --help` lists the commands."),
    ],
)
def test_command_when_unknown_then_the_nearest_is_named_and_status_2(capsys, word, hint) -> None:
    assert main([word]) == 2
    assert capsys.readouterr().err == f"error: cellseg has no command {word}; {hint}\n"


def test_command_when_absent_then_help_and_status_2(capsys) -> None:
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().err


def test_version_when_asked_for_then_the_packages(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert (end.value.code, capsys.readouterr().out) == (0, f"cellseg {cellseg.__version__}\n")


def test_command_when_it_fails_for_the_user_then_one_sentence_and_status_1(capsys) -> None:
    assert main(["train", "mask-rcnn_r18_smal-anchor"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("\nerror: There is no config mask-rcnn_r18_smal-anchor; the nearest")
    assert "mask-rcnn_r18_small-anchor" in said


def test_command_when_ended_with_ctrl_c_then_status_130(capsys, monkeypatch) -> None:
    def stop(args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(load_command("configs"), "main", stop)
    assert main(["configs"]) == 130
    assert capsys.readouterr().err == "\ninterrupted\n"


def test_completion_when_shtab_is_absent_then_it_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(CellsegError, match="pip install shtab"):
        module.print_completion(build_parser(), "bash")


def test_completion_when_shtab_is_there_then_its_script_comes_out(monkeypatch, capsys) -> None:
    stand_in = type(sys)("shtab")
    stand_in.complete = lambda parser, shell: f"{shell} completes {parser.prog}"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shtab", stand_in)
    assert main(["--print-completion", "zsh"]) == 0
    assert capsys.readouterr().out == "zsh completes cellseg\n"


def test_pyproject_always_names_the_function() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'cellseg = "{main.__module__}:{main.__name__}"' in text
