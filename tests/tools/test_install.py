"""tools/install.sh, with a Python that only notes what it is asked to do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ("requirements-build.txt", "requirements.txt", "requirements-web.txt")
FILES = ("tools/install.sh", "pyproject.toml", *REQUIREMENTS)

# Notes its arguments; makes the .venv it is asked for; checks as the files beside it say.
STAND_IN = """#!/bin/bash
echo "$*" >>"$NOTES"
case "$*" in
    "-m venv .venv")
        mkdir -p .venv/bin && cp "$0" .venv/bin/python
        echo "#!$PWD/.venv/bin/python" >.venv/bin/pip ;;
    "tools/check_install.py")
        [ ! -f check_status ] || { status=$(cat check_status); rm check_status; exit "$status"; } ;;
    "-") exit 1 ;;
    *"-r requirements.txt"*) [ ! -f pip_fails ] || exit 1 ;;
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
    return result, [step.removeprefix("-m pip --disable-pip-version-check ") for step in steps]


FIRST_RUN = [
    "-m venv .venv",
    "install -r requirements-build.txt",
    "install --no-deps --no-build-isolation -r requirements.txt",
    "install --no-deps -r requirements-web.txt",
    "install --no-deps --no-build-isolation --editable .",
    "tools/check_install.py",
]


def test_install_first_puts_torch_before_everything_else(clone):
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


def test_install_after_a_failure_goes_on_in_the_same_venv(clone):
    (clone / "pip_fails").touch()
    assert _install(clone)[0].returncode != 0
    (clone / "pip_fails").unlink()
    assert _install(clone)[1] == FIRST_RUN[1:]


def test_install_in_a_moved_clone_makes_the_venv_again(clone):
    _install(clone)
    moved = clone.rename(clone.parent / "moved")
    assert _install(moved)[1] == FIRST_RUN


def test_install_with_ops_that_do_not_load_builds_mmcv_again(clone):
    (clone / "check_status").write_text("3")
    result, steps = _install(clone)
    assert result.returncode == 0
    assert steps[len(FIRST_RUN) :] == [
        "install --no-cache-dir --force-reinstall --no-deps --no-build-isolation onedl-mmcv==2.3.6",
        "tools/check_install.py",
    ]


def test_install_with_two_opencvs_leaves_the_headless_one_whole(clone):
    (clone / "check_status").write_text("4")
    steps = _install(clone)[1]
    assert steps[len(FIRST_RUN)].startswith("uninstall -y opencv-python ")
    assert steps[len(FIRST_RUN) + 1].startswith(
        "install --force-reinstall --no-deps opencv-python-headless=="
    )


def test_install_with_a_torch_index_takes_torch_from_there(clone):
    steps = _install(clone, TORCH_INDEX="file:///wheels")[1]
    assert steps[1] == "install --extra-index-url file:///wheels -r requirements-build.txt"


def test_install_without_a_python_says_what_is_missing(clone):
    result, steps = _install(clone, PYTHON="/nowhere/python3.11")
    assert result.returncode == 1
    assert "no Python 3.11 or 3.12 with venv and headers was found" in result.stderr
    assert "/nowhere/python3.11" in result.stderr
    assert steps == []


def test_install_without_a_compiler_says_so(clone, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "cat", "dirname", "sha256sum", "grep", "head", "rm", "mkdir", "cp"):
        (tools / name).symlink_to(shutil.which(name))
    result, steps = _install(clone, PATH=str(tools))
    assert result.returncode == 1
    assert "no C++ compiler was found" in result.stderr
    assert steps == []
