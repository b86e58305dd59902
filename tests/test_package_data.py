"""An install that is no editable one has every file that the code reads."""

import runpy
from pathlib import Path

import setuptools
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
    assert Path("cellseg/web/static/page.css") in files
    assert packed == files


def test_build_holds_the_configs_of_the_repository(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **words: given.update(words))
    runpy.run_path("setup.py")
    attributes = {"script_name": "setup.py"}
    distribution = apply_configuration(Distribution(attributes), "pyproject.toml")
    build = given["cmdclass"]["build_py"](distribution)
    build.build_lib = str(tmp_path)
    build.ensure_finalized()
    configs = sorted(
        path.relative_to(ROOT)
        for path in (ROOT / "configs").rglob("*.*")
        if path.suffix in (".py", ".csv")
    )
    assert len(configs) > 10
    assert {str(path) for path in configs} <= set(build.get_source_files())
    stale = tmp_path / "cellseg" / "configs" / "cell" / "gone.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    build.run()
    packed = sorted((tmp_path / "cellseg" / "configs").rglob("*.*"))
    assert [path.relative_to(tmp_path / "cellseg") for path in packed] == configs
    assert all(
        path.read_bytes() == (ROOT / name).read_bytes()
        for path, name in zip(packed, configs, strict=True)
    )


def test_build_holds_the_free_models_only(monkeypatch, tmp_path):
    for name in ("nuclei-cc0", "nuclei-he"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "model.json").write_text(name)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "cellseg").mkdir()
    monkeypatch.chdir(tmp_path)
    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **words: given.update(words))
    runpy.run_path("setup.py")
    distribution = Distribution({"script_name": "setup.py", "packages": ["cellseg"]})
    build = given["cmdclass"]["build_py"](distribution)
    build.build_lib = str(tmp_path / "lib")
    build.ensure_finalized()
    build.run()
    shipped = tmp_path / "lib" / "cellseg" / "shipped_models"
    assert [path.name for path in shipped.iterdir()] == ["nuclei-cc0"]
    assert (shipped / "nuclei-cc0" / "model.json").read_text() == "nuclei-cc0"
