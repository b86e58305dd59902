"""An install that is no editable one has every file that the code reads."""

from pathlib import Path

from setuptools import Distribution
from setuptools.config.pyprojecttoml import apply_configuration

ROOT = Path(__file__).resolve().parent.parent


def test_package_holds_every_file_below_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    distribution = apply_configuration(Distribution(), "pyproject.toml")
    distribution.include_package_data = False  # what lies in a manifest is not asked for
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    packed = {
        Path(source, name) for _, source, _, names in build.data_files or () for name in names
    }
    files = {
        path.relative_to(ROOT)
        for path in (ROOT / "cellseg").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and path.name[0] != "."
    }
    assert Path("cellseg/web/templates/page.css") in files
    assert packed == files
