"""tools/pack_wheels.sh, with a Python whose pip only notes what it is asked for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT = ("onedl_mmcv", "onedl_mmdetection")

# Notes its arguments, and leaves a file for each pin that pip is to download or to build.
STAND_IN = """#!/bin/bash
echo "$*" >>"$NOTES"
folder=.
while [ $# -gt 0 ]; do
    case "$1" in
        --dest | --wheel-dir) folder=$2; shift ;;
        *==*) name=${1%%==*}
            echo wheel >"$folder/${name//-/_}-${1##*==}-${TAG:-py3-none-any}.whl" ;;
    esac
    shift
done
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Make a clone with the script, the pins and a stand-in for Python."""
    folder = tmp_path / "a clone"
    (folder / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "pack_wheels.sh", folder / "tools")
    shutil.copy(ROOT / "requirements.txt", folder)
    (folder / "python").write_text(STAND_IN)
    (folder / "python").chmod(0o755)
    return folder


def _pack(clone: Path, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess:
    """Run the script in a clone."""
    environment = {"PATH": os.environ["PATH"], "PYTHON": str(clone / "python")}
    return subprocess.run(
        ["bash", "tools/pack_wheels.sh", *arguments],
        cwd=clone,
        env=environment | {"NOTES": str(clone / "notes")} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_pack_when_run_then_every_wheel_has_the_pinned_version(clone: Path) -> None:
    result = _pack(clone, ".gpu")
    assert result.returncode == 0, result.stderr
    pins = {
        line.split(" ")[0].replace("-", "_", line.split("==")[0].count("-"))
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if "==" in line
    }
    packed = {
        path.name.removesuffix("-py3-none-any.whl").replace("-", "==")
        for path in (clone / ".gpu" / "wheels").iterdir()
    }
    assert len(packed) >= 13
    assert packed <= pins
    assert "MiB in .gpu" in result.stdout


def test_pack_when_run_then_source_packages_are_built_without_ops_and_cache(clone: Path) -> None:
    _pack(clone, ".gpu")
    download, build = (clone / "notes").read_text().splitlines()
    assert "--only-binary=:all:" in download
    assert "--python-version 3.12" in download
    assert "onedl-mmcv" not in download
    assert "wheel" in build
    assert "--no-cache-dir" in build
    assert "--no-build-isolation" not in build
    assert all(name.replace("_", "-") in build for name in BUILT)


def test_pack_when_a_source_package_was_compiled_then_fails(clone: Path) -> None:
    result = _pack(clone, ".gpu", TAG="cp312-cp312-linux_x86_64")
    assert result.returncode == 1
    assert "onedl_mmcv was built for one platform only" in result.stderr


def test_pack_again_then_old_wheels_are_gone(clone: Path) -> None:
    old = clone / ".gpu" / "wheels" / "addict-1.0-py3-none-any.whl"
    old.parent.mkdir(parents=True)
    old.touch()
    _pack(clone, ".gpu")
    assert not old.exists()


def test_pack_with_data_then_it_is_copied_and_can_be_renewed(clone: Path) -> None:
    (clone / "cells" / "train").mkdir(parents=True)
    image = clone / "cells" / "train" / "image.tif"
    image.write_text("pixels")
    image.chmod(0o444)
    for _ in range(2):
        result = _pack(clone, ".gpu", "--data", clone / "cells")
        assert result.returncode == 0, result.stderr
    assert (clone / ".gpu" / "data" / "cells" / "train" / "image.tif").read_text() == "pixels"
    assert ".gpu/data/cells/" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "name the folder to pack into"),
        ((".gpu", "--date", "x"), "--date is not known"),
        ((".gpu", "--data", "nowhere"), "nowhere is not a folder"),
    ],
)
def test_pack_when_arguments_are_wrong_then_says_how_to_fix_them(
    clone: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    result = _pack(clone, *arguments)
    assert result.returncode == 1
    assert complaint in result.stderr


def test_pack_when_a_pin_is_missing_then_names_it(clone: Path) -> None:
    pins = (clone / "requirements.txt").read_text()
    (clone / "requirements.txt").write_text(pins.replace("addict==", "# addict=="))
    result = _pack(clone, ".gpu")
    assert result.returncode == 1
    assert "requirements.txt pins no addict" in result.stderr


def test_pack_when_too_large_then_fails(clone: Path) -> None:
    (clone / "cells").mkdir()
    (clone / "cells" / "image.tif").write_bytes(bytes(2 << 20))
    result = _pack(clone, ".gpu", "--data", "cells", LIMIT_MIB="1")
    assert result.returncode == 1
    assert "over 1 MiB" in result.stderr


def _install(clone: Path, version: str, *arguments: str) -> tuple[int, str, str]:
    """Run the packed installer with a Python that claims a version; status, notes and output."""
    _pack(clone, ".gpu")
    (clone / "notes").write_text("")
    fits = "0" if version == "3.12" else "1"
    stand_in = clone / "python3.12"
    stand_in.write_text(f'#!/bin/bash\necho "$*" >>"$NOTES"\n[ "$1" != -c ] || exit {fits}\n')
    stand_in.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "PYTHON": str(stand_in)}
    result = subprocess.run(
        ["bash", ".gpu/install.sh", *arguments],
        cwd=clone,
        env=environment | {"NOTES": str(clone / "notes")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return result.returncode, (clone / "notes").read_text(), result.stdout + result.stderr


def test_packed_installer_when_run_then_installs_without_a_network(clone: Path) -> None:
    status, notes, _ = _install(clone, "3.12")
    (command,) = [line for line in notes.splitlines() if " install " in line]
    assert status == 0
    assert {"--no-index", "--no-deps"} <= set(command.split())
    assert command.count(".whl") >= 13
    assert "--target" not in command


def test_packed_installer_with_a_folder_then_says_how_to_use_it(clone: Path) -> None:
    status, notes, output = _install(clone, "3.12", "site")
    assert status == 0
    assert "--target site" in notes
    assert "export PYTHONPATH=site" in output


def test_packed_installer_when_python_is_another_then_installs_nothing(clone: Path) -> None:
    status, notes, output = _install(clone, "3.11")
    assert status == 1
    assert " install " not in notes
    assert "for Python 3.12" in output
