"""Ship configs/ inside the package, at cellseg/configs; all else stands in pyproject.toml.

The configs stay at the top of the repository, where MMDetection's users look for them. An editable
install and a plain checkout read them there (`cellseg.config_files`).
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CONFIGS = Path("configs")


class BuildWithConfigs(build_py):
    """Build the package, and copy the configs into it."""

    def run(self) -> None:
        """Build as always, then copy."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "cellseg", "configs")
            shutil.rmtree(target, ignore_errors=True)  # configs that are gone stay gone
            for source in self._list_configs():
                path = target / source.relative_to(CONFIGS)
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, path)

    def get_source_files(self) -> list[str]:
        """List what a source distribution must hold."""
        return [*super().get_source_files(), *map(str, self._list_configs())]

    def _list_configs(self) -> list[Path]:
        return sorted(CONFIGS.rglob("*.py"))


setup(cmdclass={"build_py": BuildWithConfigs})
