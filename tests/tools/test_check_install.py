"""tools/check_install.py and tools/check_python.py find what is wrong and say the mend."""

import importlib.metadata
import sys
from pathlib import Path

import pytest

from tools import check_install, check_python


def test_read_pins_reads_versions_and_no_comments(tmp_path: Path):
    (tmp_path / "r.txt").write_text("# one==1\nnumpy==2.2.6  # why\n\nImageIO==2.38.1\n")
    assert check_install.read_pins(tmp_path / "r.txt") == {"numpy": "2.2.6", "ImageIO": "2.38.1"}


@pytest.mark.parametrize(
    ("installed", "finding"),
    [("1.0", None), ("1.0+cpu", None), ("1.1", "is 1.1, not 1.0"), (None, "not installed")],
)
def test_find_wrong_versions_compares_with_the_pin(monkeypatch, installed, finding):
    def version(name):
        if installed is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = check_install.find_wrong_versions({"torch": "1.0"})
    assert (finding is None and found == []) or (finding in found[0] and "make install" in found[0])


def test_find_opencv_faults_with_a_second_opencv_names_it(monkeypatch):
    monkeypatch.setattr(check_install, "OTHER_OPENCV", ("pytest",))
    assert any(
        "pytest shares the cv2 folder" in line for line in check_install.find_opencv_faults()
    )


def test_find_opencv_faults_with_an_emptied_cv2_folder_says_install_again(monkeypatch):
    monkeypatch.setattr(check_install, "OTHER_OPENCV", ())
    monkeypatch.setitem(sys.modules, "cv2", type(sys)("cv2"))
    assert "Install opencv-python-headless again" in check_install.find_opencv_faults()[0]


def test_find_op_faults_with_working_ops_finds_none():
    assert check_install.find_op_faults({"onedl-mmcv": "2.3.6"}) == []


def test_find_op_faults_without_compiled_ops_says_how_to_build_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmcv.ops", None)  # what an import of absent ops does
    (finding,) = check_install.find_op_faults({"onedl-mmcv": "2.3.6"})
    assert "do not load" in finding
    assert "--no-build-isolation onedl-mmcv==2.3.6" in finding


def test_find_missing_in_this_environment_finds_nothing():
    assert check_python.find_missing() == []


@pytest.mark.parametrize("version", [(3, 10), (3, 13)])
def test_find_missing_in_another_python_names_its_version(monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", (*version, 1))
    assert f"it is Python {version[0]}.{version[1]}" in check_python.find_missing()[0]


def test_find_missing_without_headers_and_venv_names_the_packages(monkeypatch, tmp_path):
    monkeypatch.setattr(check_python.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.setattr(check_python.importlib.util, "find_spec", lambda name: None)
    missing = check_python.find_missing()
    assert any("-venv" in line for line in missing)
    assert any("Python.h" in line for line in missing)
