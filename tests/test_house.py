"""The repository keeps its word: README commands exist, pins are exact, no machine leaks in."""

import re
import subprocess
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _read_pins() -> list[Requirement]:
    lines = [line.partition(" #")[0].strip() for line in _read("requirements.txt").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def _normalize(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def _read_versions() -> dict[str, str]:
    return {_normalize(pin.name): str(pin.specifier).removeprefix("==") for pin in _read_pins()}


def _list_committed_text() -> list[Path]:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()]


def _list_make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", _read("Makefile"), flags=re.MULTILINE))


def test_requirements_are_pinned_exactly_and_once():
    pins = _read_pins()
    for pin in pins:
        assert re.fullmatch(r"==\d+(\.\w+)*", str(pin.specifier)), f"{pin.name}: no exact version"
    names = [_normalize(pin.name) for pin in pins]
    assert sorted(names) == sorted(set(names))


def test_pyproject_allows_the_versions_of_the_lock():
    versions = _read_versions()
    project = tomllib.loads(_read("pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    users = {"web", "parquet", "slides", "cluster", "remote", "gpu", "mmpretrain"}
    assert set(extras) == users | {"test", "dev", "all"}
    not_in_the_lock = "torchvision", "onedl-mmpretrain"
    lines = [*project["dependencies"], *(line for extra in extras.values() for line in extra)]
    for needed in map(Requirement, lines):
        if needed.name not in (project["name"], "opencv-python", *not_in_the_lock):
            assert needed.specifier.contains(versions[needed.name]), needed


def test_pyproject_holds_both_opencvs_and_imaug_to_the_versions_of_the_lock():
    versions = _read_versions()
    dependencies = tomllib.loads(_read("pyproject.toml"))["project"]["dependencies"]
    opencv = versions["opencv-python-headless"]
    assert f"opencv-python=={opencv}" in dependencies
    assert f"opencv-python-headless=={opencv}" in dependencies
    assert f"imaug=={versions['imaug']}" in dependencies


def test_requirements_hold_the_forks_and_one_opencv():
    versions = _read_versions()
    assert versions["torch"] == "2.13.0"
    assert versions["onedl-mmcv"] == "2.3.6"
    assert [package for package in versions if "opencv" in package] == ["opencv-python-headless"]


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml", "tools/install.sh"])
def test_nothing_is_left_of_the_compilation(name):
    words = ("ninja", "--no-build-isolation", "nvcc", "FORCE_CUDA", "CXX")
    assert [word for word in words if word in _read(name)] == []


def test_readme_names_only_make_targets_that_exist():
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", _read("README.md") + _read("CONTRIBUTING.md")))
    assert {"demo", "test", "install"} <= named <= _list_make_targets()


def test_readme_shows_the_way_without_make():
    readme = _read("README.md")
    assert "pip install --no-cache-dir --constraint requirements.txt --editable" in readme
    assert "tools/check_install.py" in readme


def test_page_on_installing_shows_the_commands_that_make_install_runs():
    page, script = _read("docs/install.md"), _read("tools/install.sh")
    for command in (
        "install --no-deps --no-cache-dir --constraint requirements.txt onedl-mmcv",
        "install --no-deps --requirement requirements.txt --editable .",
        "tools/check_install.py --lock",
    ):
        assert command in page
        assert command in script


def test_pages_name_only_files_that_exist():
    pages = ["README.md", "data/README.md"]
    pages += [f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")]
    text = "".join(map(_read, pages))
    named = set(re.findall(r"\b((?:tools|configs|cellseg)/[\w/.-]+\.(?:py|sh))\b", text))
    configs = re.findall(r"`((?:cascade-)?mask-rcnn[\w-]+\.py)`", text)
    named |= {f"configs/cell/{name}" for name in configs}
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_page_on_training_lists_every_config():
    configs = [path.name for path in (ROOT / "configs" / "cell").glob("*.py")]
    assert [name for name in configs if name not in _read("docs/train.md")] == []


def test_ci_runs_the_readmes_test_command_then_the_slow_tests():
    script = _read(".ci/run")
    assert 0 < script.index("make test ") < script.index("make test-slow")
    assert "CELLSEG_REAL_DATA" in script
    assert '-m "not slow"' in _read("Makefile")


@pytest.mark.parametrize("name", [".ci/run", "tools/install.sh"])
def test_scripts_parse_and_are_executable(name):
    assert (ROOT / name).stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(ROOT / name)], check=True)


def test_committed_files_name_no_package_host_and_no_machine_path():
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "whl" + "/cpu", "whl" + "/cu1")
    places = ("/work" + "/", "/opt" + "/pypi", "/root" + "/")
    for path in _list_committed_text():
        text = path.read_text(encoding="utf-8", errors="replace")
        assert [word for word in hosts + places if word in text] == [], path


def test_committed_files_hold_no_data_but_the_free_examples():
    names = [path.relative_to(ROOT) for path in _list_committed_text()]
    data = [name for name in names if name.parts[0] == "data" and "examples" not in name.parts]
    assert data == [Path("data/README.md")]
    images = sorted((ROOT / "data" / "examples").glob("*/*/image.tif"))
    assert 0 < len(images) <= 12
    assert "CC0" in _read("data/examples/README.md")


def _is_left_out(name: str, rules: list[str]) -> bool:
    """Return whether Docker does not get a file: of the rules that fit it, the last one decides."""
    parts = Path(name).parts
    folders = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    left_out = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        own = parts if pattern.startswith("**/") else folders
        if any(fnmatchcase(part, pattern.removeprefix("**/")) for part in own):
            left_out = not rule.startswith("!")
    return left_out


def test_docker_gets_every_committed_file_and_nothing_else_of_data():
    rules = _read(".dockerignore").split()
    names = [path.relative_to(ROOT).as_posix() for path in _list_committed_text()]
    names += [path.relative_to(ROOT).as_posix() for path in ROOT.glob("data/examples/*/*/*.tif")]
    assert [name for name in names if _is_left_out(name, rules)] == []
    for name in ("data/consep/train/1/image.tif", ".venv/bin/python", "cellseg/__pycache__/a.pyc"):
        assert _is_left_out(name, rules)
