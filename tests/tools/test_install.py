"""tools/install.sh, with a Python that only notes what it is asked to do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ("tools/install.sh", "pyproject.toml", "requirements.txt")

# Notes its arguments; makes the .venv it is asked for; fails as the files beside it say.
STAND_IN = """#!/bin/bash
echo "$*" >>"$NOTES"
case "$*" in
    "-m venv .venv")
        mkdir -p .venv/bin && cp "$0" .venv/bin/python
        echo "#!$PWD/.venv/bin/python" >.venv/bin/pip ;;
    "tools/check_install.py --lock")
        [ ! -f check_fails ] || { rm check_fails; exit 1; } ;;
    *"install --quiet"*) [ ! -f no_uv ] || exit 1 ;;
    "tools/run_uv.py"*"--requirement"*) [ ! -f uv_fails ] || exit 2 ;;
    "-m pip"*"--requirement"*) [ ! -f pip_fails ] || exit 1 ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Make a clone with the set-up's files and a stand-in for Python."""
    folder = tmp_path / "a clone"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "python").write_text(STAND_IN)
    (folder / "python").chmod(0o755)
    return folder


def _install(clone: Path, **variables: str) -> tuple[subprocess.CompletedProcess, list[str]]:
    """Run the set-up; return its result and the installs and checks it did."""
    notes = clone / "notes"
    notes.write_text("")
    environment = {"PATH": os.environ["PATH"], "PYTHON": str(clone / "python")}
    result = subprocess.run(
        ["bash", "tools/install.sh"],
        cwd=clone,
        env=environment | {"NOTES": str(notes)} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    lines = notes.read_text().splitlines()
    steps = [line for line in lines if "pip" in line or "check_install" in line or "venv" in line]
    return result, [step.replace("-m pip --disable-pip-version-check", "pip") for step in steps]


def _write_installs(installer: str) -> list[str]:
    """Return the three installs, by `pip` or `tools/run_uv.py pip`."""
    return [
        f"{installer} install --constraint requirements.txt torch",
        f"{installer} install --no-deps --no-cache-dir --constraint requirements.txt onedl-mmcv",
        f"{installer} install --no-deps --requirement requirements.txt --editable .",
    ]


MAKE_VENV = "-m venv .venv"
GET_UV = "pip install --quiet --no-deps uv==0.13.9"
BY_UV, BY_PIP = _write_installs("tools/run_uv.py pip"), _write_installs("pip")
CHECK = "tools/check_install.py --lock"
FIRST_RUN = [MAKE_VENV, GET_UV, *BY_UV, CHECK]


def test_install_first_makes_the_venv_and_installs_with_uv(clone):
    result, steps = _install(clone)
    assert result.returncode == 0, result.stderr
    assert steps == FIRST_RUN


def test_install_again_does_nothing(clone):
    _install(clone)
    result, steps = _install(clone)
    assert (result.returncode, steps, result.stderr) == (0, [], "")


@pytest.mark.parametrize("name", FILES)
def test_install_after_a_change_installs_into_the_same_venv(clone, name):
    _install(clone)
    with (clone / name).open("a") as file:
        file.write("\n# changed\n")
    assert _install(clone)[1] == FIRST_RUN[1:]
    assert _install(clone)[1] == []


def test_install_with_another_torch_index_makes_the_venv_again(clone):
    _install(clone, TORCH_INDEX="file:///cpu")
    assert _install(clone)[1] == []
    assert _install(clone, TORCH_INDEX="file:///cpu")[1] == []
    assert _install(clone, TORCH_INDEX="file:///cuda")[1][0] == MAKE_VENV


def test_install_with_another_python_makes_the_venv_again(clone):
    other = clone / "python3.12"
    other.write_text(STAND_IN + '[ "$1" != -c ] || echo 3 12\n')
    other.chmod(0o755)
    _install(clone)
    assert _install(clone, PYTHON=str(other))[1] == FIRST_RUN
    assert _install(clone, PYTHON=str(other))[1] == []


def test_install_without_uv_goes_on_with_pip(clone):
    (clone / "no_uv").touch()
    result, steps = _install(clone)
    assert result.returncode == 0
    assert "uv is not available" in result.stderr
    assert steps == [MAKE_VENV, GET_UV, *BY_PIP, CHECK]


def test_install_with_a_uv_that_fails_does_that_step_with_pip(clone):
    (clone / "uv_fails").touch()
    result, steps = _install(clone)
    assert result.returncode == 0
    assert "uv failed" in result.stderr
    assert steps == [MAKE_VENV, GET_UV, *BY_UV, BY_PIP[-1], CHECK]


def test_install_with_installer_pip_does_not_ask_for_uv(clone):
    assert _install(clone, INSTALLER="pip")[1] == [MAKE_VENV, *BY_PIP, CHECK]


def test_install_after_a_failure_goes_on_in_the_same_venv(clone):
    (clone / "pip_fails").touch()
    result, steps = _install(clone, INSTALLER="pip")
    assert result.returncode != 0
    assert CHECK not in steps
    (clone / "pip_fails").unlink()
    assert _install(clone)[1] == FIRST_RUN[1:]


def test_install_in_a_moved_clone_makes_the_venv_again(clone):
    _install(clone)
    moved = clone.rename(clone.parent / "moved")
    assert _install(moved)[1] == FIRST_RUN


def test_install_over_compiled_ops_of_an_old_set_up_makes_the_venv_again(clone):
    _install(clone)
    compiled = (
        clone / ".venv/lib/python3.11/site-packages/mmcv/_ext.cpython-311-x86_64-linux-gnu.so"
    )
    compiled.parent.mkdir(parents=True)
    compiled.touch()
    (clone / ".venv/.cellseg-installed").write_text("the stamp of an old set-up\n")
    assert _install(clone)[1] == FIRST_RUN
    assert not compiled.exists()


def test_install_into_a_spoiled_venv_makes_it_again_once(clone):
    _install(clone)
    (clone / ".venv/.cellseg-installed").unlink()
    (clone / "check_fails").touch()
    result, steps = _install(clone)
    assert result.returncode == 0
    assert steps == [*FIRST_RUN[1:], *FIRST_RUN]


def test_install_into_a_new_venv_that_is_faulty_fails_and_leaves_no_stamp(clone):
    (clone / "check_fails").touch()
    result, steps = _install(clone)
    assert result.returncode == 1
    assert steps == FIRST_RUN
    assert _install(clone)[1] == FIRST_RUN[1:]


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_install_with_a_torch_index_takes_torch_from_there(clone, installer):
    steps = _install(clone, TORCH_INDEX="file:///wheels", INSTALLER=installer)[1]
    (torch,) = [step for step in steps if step.endswith(" torch")]
    assert "install --extra-index-url file:///wheels --constraint requirements.txt torch" in torch


def test_install_without_a_python_says_what_is_missing(clone):
    result, steps = _install(clone, PYTHON="/nowhere/python3.11")
    assert result.returncode == 1
    assert "no Python 3.11, 3.12 or 3.13 with venv was found" in result.stderr
    assert "/nowhere/python3.11" in result.stderr
    assert steps == []


def test_install_needs_no_compiler_and_no_checksum_tool(clone, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "cat", "dirname", "grep", "head", "rm", "mkdir", "cp"):
        (tools / name).symlink_to(shutil.which(name))
    result, steps = _install(clone, PATH=str(tools))
    assert result.returncode == 0, result.stderr
    assert steps == FIRST_RUN
