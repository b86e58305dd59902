"""The repository keeps its word: README commands exist, pins are exact, no machine leaks in."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PIN_FILES = ("requirements-build.txt", "requirements.txt", "requirements-web.txt")


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _read_pins(name: str) -> dict[str, str]:
    lines = [line.partition("#")[0].strip() for line in _read(name).splitlines()]
    pins = {}
    for line in filter(None, lines):
        package, _, version = line.partition("==")
        pins[re.sub(r"[-_.]+", "-", package).lower()] = version
    return pins


def _read_all_pins() -> dict[str, str]:
    return {package: version for name in PIN_FILES for package, version in _read_pins(name).items()}


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


@pytest.mark.parametrize("name", PIN_FILES)
def test_requirements_are_pinned_exactly(name):
    for package, version in _read_pins(name).items():
        assert re.fullmatch(r"\d+(\.\w+)*", version), f"{name}: {package} has no exact version"


def test_requirements_pin_no_package_twice():
    packages = [package for name in PIN_FILES for package in _read_pins(name)]
    assert sorted(packages) == sorted(set(packages))


def test_pyproject_names_the_same_versions_as_the_requirements():
    pins = _read_all_pins()
    project = tomllib.loads(_read("pyproject.toml"))["project"]
    extras = project["optional-dependencies"].values()
    for requirement in [*project["dependencies"], *(line for extra in extras for line in extra)]:
        package, _, version = requirement.partition("==")
        assert pins[package] == version


def test_requirements_hold_the_forks_and_one_opencv():
    pins = _read_all_pins()
    assert pins["torch"] == "2.13.0"
    assert pins["onedl-mmcv"] == "2.3.6"
    assert int(pins["setuptools"].split(".")[0]) < 81
    assert [package for package in pins if "opencv" in package] == ["opencv-python-headless"]


def test_readme_names_only_make_targets_that_exist():
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", _read("README.md") + _read("CONTRIBUTING.md")))
    assert {"demo", "test", "install"} <= named <= _list_make_targets()


def test_readme_shows_the_pip_commands_that_make_install_runs():
    readme, script = _read("README.md"), _read("tools/install.sh")
    for command in (
        "-r requirements-build.txt",
        "install --no-deps --no-build-isolation -r requirements.txt",
        "install --no-deps -r requirements-web.txt",
        "install --no-deps --no-build-isolation --editable .",
        "tools/check_install.py",
    ):
        assert command in readme
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


def test_readme_lists_every_config():
    configs = [path.name for path in (ROOT / "configs" / "cell").glob("*.py")]
    assert [name for name in configs if name not in _read("README.md")] == []


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


def test_committed_files_hold_no_data():
    names = [path.relative_to(ROOT) for path in _list_committed_text()]
    assert [name for name in names if name.parts[0] == "data"] == [Path("data/README.md")]
