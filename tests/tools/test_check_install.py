"""tools/check_install.py and tools/check_python.py find what is wrong and say the fix."""

import importlib.metadata
import re
import sys
import types
from pathlib import Path

import pytest

from tools import check_install, check_python

ROOT = Path(__file__).resolve().parents[2]
set_up_by_make = pytest.mark.skipif(
    not (Path(sys.prefix) / ".cellseg-installed").exists(),
    reason="not the environment of `make install`",
)


@pytest.fixture
def installed(monkeypatch) -> dict[str, str]:
    """Let these be the only packages of the environment, by name and version."""
    versions: dict[str, str] = {}

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    return versions


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_find_python_faults_in_another_python_names_the_fix(monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", (*version, 1))
    (sentence,) = check_install.find_python_faults()
    assert f"This is Python {version[0]}.{version[1]}" in sentence
    assert "make install PYTHON=" in sentence


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_find_python_faults_in_a_supported_python_finds_none(monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", (*version, 1))
    assert check_install.find_python_faults() == []
    assert check_python.find_missing() == []


def test_read_pins_reads_versions_and_obeys_markers(tmp_path: Path):
    lines = ["# one==1", "numpy==2.2.6  # why", "", "ImageIO==2.38.1"]
    lines += ['old==1; python_version < "3.9"', 'new==2; python_version > "3.9"  # why']
    (tmp_path / "r.txt").write_text("\n".join(lines))
    assert check_install.read_pins(tmp_path / "r.txt") == {
        "numpy": "2.2.6",
        "ImageIO": "2.38.1",
        "new": "2",
    }


@pytest.mark.parametrize(
    ("version", "finding"),
    [("1.0", None), ("1.0+cpu", None), ("1.1", "is 1.1, not 1.0"), (None, "not installed")],
)
def test_find_wrong_versions_compares_with_the_pin(installed, version, finding):
    installed.update({} if version is None else {"torch": version})
    found = check_install.find_wrong_versions({"torch": "1.0"})
    assert (finding is None and found == []) or (finding in found[0] and "make install" in found[0])


@pytest.fixture
def needs(monkeypatch, installed) -> dict[str, list[str]]:
    """Let the project need `a`, and with its extra `web` also `b`; `a` needs `c` and two more."""
    lines = {
        "cellseg-mmdet": ["a>=2", 'b; extra == "web"'],
        "a": ["c<3", 'd; python_version < "3"', "opencv-python"],
    }
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines.get(name))
    installed.update({"cellseg-mmdet": "0.1.0", "a": "2.1", "c": "2.0"})
    return lines


def test_find_unmet_needs_of_a_whole_environment_finds_none(needs):
    assert check_install.find_unmet_needs() == []


def test_find_unmet_needs_of_a_half_installed_environment_names_the_package(needs, installed):
    del installed["c"]
    assert check_install.find_unmet_needs() == ["c is not installed. Run `pip install .` again."]


def test_find_unmet_needs_with_a_wrong_version_names_the_right_one(needs, installed):
    installed["a"] = "1.0"
    assert check_install.find_unmet_needs() == [
        'a is 1.0, but >=2 is needed. Run `pip install "a>=2"`.'
    ]


def test_find_unmet_needs_of_an_extra_asks_for_what_the_extra_needs(needs):
    assert "b is not installed" in check_install.find_unmet_needs("cellseg-mmdet[web]")[0]


@pytest.mark.parametrize(("name", "fork"), [("mmcv", "onedl-mmcv"), ("mmengine", "onedl-mmengine")])
def test_find_foreign_packages_with_openmmlabs_beside_the_fork_says_how_to_part_them(
    installed, name, fork
):
    installed.update({name: "2.1.0", fork: "2.3.6"})
    (sentence,) = check_install.find_foreign_packages()
    assert f"{name} 2.1.0 shares its folder with {fork}" in sentence
    assert f"pip uninstall -y {name} {fork}" in sentence
    assert f"pip install --no-deps --no-cache-dir {fork}==2.3.6" in sentence


def test_find_foreign_packages_with_the_forks_alone_finds_none(installed):
    installed["onedl-mmcv"] = "2.3.6"
    assert check_install.find_foreign_packages() == []


@pytest.mark.parametrize("versions", [{}, {"opencv-python": "4.12.0.88"}])
def test_find_opencv_faults_accepts_headless_alone_and_a_pair_of_one_version(installed, versions):
    installed.update({"opencv-python-headless": "4.12.0.88"} | versions)
    assert check_install.find_opencv_faults() == []


@pytest.mark.parametrize("name", ["opencv-python", "opencv-contrib-python"])
def test_find_opencv_faults_with_a_second_opencv_names_it(installed, name):
    installed.update({"opencv-python-headless": "4.12.0.88", name: "5.0.0.93"})
    (sentence,) = check_install.find_opencv_faults()
    assert f"pip uninstall -y {name}" in sentence
    assert "pip install --force-reinstall --no-deps opencv-python-headless==4.12.0.88" in sentence


def test_find_opencv_faults_with_an_emptied_cv2_folder_says_install_again(monkeypatch, installed):
    installed["opencv-python-headless"] = "4.12.0.88"
    monkeypatch.setitem(sys.modules, "cv2", types.ModuleType("cv2"))
    (sentence,) = check_install.find_opencv_faults()
    assert "does not load" in sentence
    assert "--force-reinstall" in sentence


def test_find_op_faults_with_working_ops_finds_none():
    assert check_install.find_op_faults() == []


def test_find_op_faults_without_mmdet_says_install_again(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmdet.models", None)  # what an import of an absent one does
    (sentence,) = check_install.find_op_faults()
    assert "MMDetection does not load" in sentence
    assert "make install" in sentence


@set_up_by_make
def test_no_package_was_compiled_on_this_machine():
    assert check_install.find_compiled_here() == []


@set_up_by_make
@pytest.mark.parametrize("name", ["onedl-mmcv", "onedl-mmdetection", "onedl-mmengine"])
def test_the_forks_are_pure_python(name):
    wheel = importlib.metadata.distribution(name).read_text("WHEEL")
    assert re.findall(r"^Tag: (.*)$", wheel, re.MULTILINE) == ["py3-none-any"]


def test_find_compiled_here_names_what_has_a_wheel_for_this_linux_only(tmp_path, monkeypatch):
    for name, tag in [
        ("built", "cp311-cp311-linux_x86_64"),
        ("fetched", "cp311-cp311-manylinux_2_28_x86_64"),
        ("pure", "py3-none-any"),
    ]:
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
        (folder / "WHEEL").write_text(f"Wheel-Version: 1.0\nTag: {tag}\n")
    found = importlib.metadata.distributions(path=[str(tmp_path)])
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: found)
    assert check_install.find_compiled_here() == ["built"]


def test_describe_torchvision_of_another_torch_says_so_without_an_error(monkeypatch, installed):
    def refuse(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist\nsecond line")

    installed.update({"torchvision": "0.27.0", "torch": "2.13.0+cpu"})
    monkeypatch.setattr(check_install.importlib, "import_module", refuse)
    sentence = check_install.describe_torchvision()
    assert "torchvision 0.27.0 does not work with torch 2.13.0+cpu" in sentence
    assert "second line" not in sentence
    assert "torchvision 0.28" in sentence


def test_describe_torchvision_without_it_is_silent(installed):
    assert check_install.describe_torchvision() is None


@set_up_by_make
def test_main_in_this_environment_passes_and_says_which_torch(capsys):
    assert check_install.main(["--lock"]) == 0
    assert "torch 2.13.0" in capsys.readouterr().out


def test_main_with_a_finding_prints_it_and_fails(monkeypatch, capsys):
    monkeypatch.setattr(check_install, "find_wrong_versions", lambda pins: [])
    monkeypatch.setattr(check_install, "find_foreign_packages", lambda: ["mmcv is foreign."])
    monkeypatch.setattr(check_install, "find_op_faults", pytest.fail)
    assert check_install.main(["--lock"]) == 1
    assert capsys.readouterr().err == "error: mmcv is foreign.\n"


def test_main_in_a_half_installed_environment_names_the_missing_module(monkeypatch, capsys):
    def miss() -> list[str]:
        raise ModuleNotFoundError("No module named 'packaging'", name="packaging")

    monkeypatch.setattr(check_install, "find_unmet_needs", miss)
    assert check_install.main([]) == 1
    assert capsys.readouterr().err == "error: packaging is not installed. Run `make install`.\n"


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_find_missing_in_another_python_names_its_version(monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", (*version, 1))
    assert f"it is Python {version[0]}.{version[1]}" in check_python.find_missing()[0]


def test_find_missing_without_venv_names_the_package(monkeypatch):
    monkeypatch.setattr(check_python.importlib.util, "find_spec", lambda name: None)
    (sentence,) = check_python.find_missing()
    assert "-venv" in sentence


def test_supported_pythons_are_the_same_everywhere():
    assert (check_install.OLDEST, check_install.NEWEST) == (
        check_python.OLDEST,
        check_python.NEWEST,
    )
    assert 'requires-python = ">=3.11,<3.14"' in (ROOT / "pyproject.toml").read_text()
