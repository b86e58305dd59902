"""tools/run_uv.py hands pip's configuration to uv."""

import subprocess
import sys

import pytest

from tools import run_uv

LISTING = """\
:env:.find-links='/env/wheels'
global.extra-index-url='\\nfile:///one/simple\\nfile:///two/simple'
global.find-links='/global/wheels'
global.index-url='file:///global/simple'
install.index-url='file:///install/simple'
download.index-url='file:///download/simple'
global.constraint='/etc/a.txt /etc/b.txt'
"""


def test_read_settings_lets_variables_and_the_install_section_win():
    settings = run_uv.read_settings(LISTING)
    assert settings["find-links"] == "/env/wheels"
    assert settings["index-url"] == "file:///install/simple"
    assert settings["constraint"] == "/etc/a.txt /etc/b.txt"


def test_read_settings_of_an_unconfigured_pip_is_empty():
    assert run_uv.read_settings("") == {}


def test_translate_settings_gives_uv_the_same_indexes_and_folders():
    assert run_uv.translate_settings(run_uv.read_settings(LISTING)) == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_DEFAULT_INDEX": "file:///install/simple",
        "UV_INDEX": "file:///one/simple file:///two/simple",
        "UV_FIND_LINKS": "/env/wheels",
    }


@pytest.mark.parametrize(
    ("option", "value", "variable", "given"),
    [
        ("find-links", "a b", "UV_FIND_LINKS", "a,b"),
        ("cert", "/a b.pem", "SSL_CERT_FILE", "/a b.pem"),
        ("trusted-host", "one two", "UV_INSECURE_HOST", "one two"),
        ("default-timeout", "180", "UV_HTTP_TIMEOUT", "180"),
        ("no-index", "true", "UV_NO_INDEX", "true"),
    ],
)
def test_translate_settings_names_uvs_variable(option, value, variable, given):
    assert run_uv.translate_settings({option: value})[variable] == given


def test_find_constraints_is_for_installs_only():
    settings = run_uv.read_settings(LISTING)
    given = ["--constraint", "/etc/a.txt", "--constraint", "/etc/b.txt"]
    assert run_uv.find_constraints(settings, ["pip", "install", "x"]) == given
    assert run_uv.find_constraints(settings, ["pip", "list"]) == []
    assert run_uv.find_constraints({}, ["pip", "install", "x"]) == []


def test_main_runs_uv_with_pips_settings_and_keeps_what_is_set_for_uv(monkeypatch):
    calls = []

    def run(command, **options):
        calls.append((command, options))
        return subprocess.CompletedProcess(command, 7, stdout=LISTING)

    monkeypatch.setattr(run_uv.subprocess, "run", run)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "file:///mine")
    assert run_uv.main(["pip", "install", "x"]) == 7
    command, options = calls[1]
    assert command[1:4] == ["pip", "install", "x"]
    assert options["env"]["UV_DEFAULT_INDEX"] == "file:///mine"
    assert options["env"]["UV_FIND_LINKS"] == "/env/wheels"
    assert options["env"]["VIRTUAL_ENV"] == sys.prefix


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["--help"], 0), (["-h"], 0)])
def test_main_without_arguments_for_uv_says_how_it_is_used(monkeypatch, capsys, arguments, status):
    monkeypatch.setattr(run_uv.subprocess, "run", pytest.fail)
    with pytest.raises(SystemExit) as end:
        run_uv.main(arguments)
    assert end.value.code == status
    assert "usage: " in "".join(capsys.readouterr())


def test_main_when_help_is_for_uv_then_uv_gets_it(monkeypatch):
    commands = []

    def run(command: list, **options: object) -> subprocess.CompletedProcess:
        commands.append(command[1:])
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr(run_uv.subprocess, "run", run)
    assert run_uv.main(["pip", "--help"]) == 0
    assert commands[-1] == ["pip", "--help"]
