"""Ship configs/ and the free model inside the package; all else stands in pyproject.toml.

Configs stay at the top of the repository, where users of MMDetection look for them, and models
beside them. An editable install and a plain checkout read them there (`cellseg.config_files` and
`cellseg.model_files`). Only models that anyone may use for anything go into the package.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CONFIGS = Path("configs")
MODELS = Path("models")
SHIPPED_MODELS = ("nuclei-cc0",)


class BuildWithConfigs(build_py):
    """Build the package, and copy the configs and shipped models into it."""

    def run(self) -> None:
        """Build as always, then copy."""
        super().run()
        if not self.editable_mode:
            self._copy(self._list_configs(), CONFIGS, "configs")
            self._copy(self._list_models(), MODELS, "shipped_models")

    def get_source_files(self) -> list[str]:
        """List what a source distribution must hold."""
        return [*super().get_source_files(), *map(str, self._list_configs() + self._list_models())]

    def _copy(self, sources: list[Path], root: Path, name: str) -> None:
        """Copy files into a folder of the package, in place of what was there."""
        target = Path(self.build_lib, "cellseg", name)
        shutil.rmtree(target, ignore_errors=True)  # what is gone stays gone
        for source in sources:
            path = target / source.relative_to(root)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, path)

    def _list_configs(self) -> list[Path]:
        return sorted(path for kind in ("*.py", "*.csv") for path in CONFIGS.rglob(kind))

    def _list_models(self) -> list[Path]:
        folders = [MODELS / name for name in SHIPPED_MODELS]
        return sorted(path for folder in folders for path in folder.glob("*") if path.is_file())


setup(cmdclass={"build_py": BuildWithConfigs})
