"""What happens when modules of other packages are imported; needs nothing but Python itself.

- ``mmcv._ext``: where mmcv was installed without its compiled ops, `cellseg.ops.mmcv_ext` is loaded
  in their place. Compiled ops are found first, and used as they are.
- ``mmdet.registry``: its registries learn where the project's parts are, so that MMDetection
  imports them when it looks up a name, as it does with its own.
- ``mmengine.runner.checkpoint``: the loaders of `cellseg.engine.checkpoint_loading`, which run
  nothing that a file contains, are in place before the first checkpoint is loaded.
- ``mmdet.datasets``: its line on the missing package OneDL is not shown at each start.
- ``torchvision``: one that was built for another torch raises RuntimeError, which MMEngine does not
  expect when it lists the environment. It is reported as absent instead.
"""

import contextlib
import importlib
import importlib.machinery
import importlib.util
import io
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

_NEEDLESS_LINE = "Could not import OneDL. Skipping OneDL datasets."
_EXT_FILE = Path(__file__).parent / "ops" / "mmcv_ext.py"


_Step: TypeAlias = Callable[[Loader, ModuleType], None]


class ExtFinder(MetaPathFinder):
    """Find `cellseg.ops.mmcv_ext` under the name ``mmcv._ext``; asked after all other finders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of ``mmcv._ext``, and None for every other name."""
        if fullname != "mmcv._ext":
            return None
        return importlib.util.spec_from_file_location(fullname, _EXT_FILE)


class WatchingFinder(MetaPathFinder):
    """Run an execution of our own for some modules; asked before all other finders."""

    def __init__(self, steps: dict[str, _Step]) -> None:
        """Take the steps: module name to a function that executes the module."""
        self._steps = steps

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the other finders give, with the step as its loader's execution."""
        step = self._steps.get(fullname)
        if step is None:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _SteppedLoader(spec.loader, step)
                return spec
        return None


class _SteppedLoader(Loader):
    """A loader whose execution of the module is a step; it leaves no trace in the module."""

    def __init__(self, loader: Loader, step: _Step) -> None:
        self._loader, self._step = loader, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._step(self._loader, module)


def install() -> None:
    """Put the finders into their places, once per process."""
    if any(isinstance(finder, ExtFinder) for finder in sys.meta_path):
        return
    steps: dict[str, _Step] = {
        "mmdet.registry": _add_locations,
        "mmengine.runner.checkpoint": _replace_loaders_on_use,
        "mmdet.datasets": _leave_out_line,
        "mmdet.datasets.transforms": _leave_out_line,
        "torchvision": _load_or_report_absent,
    }
    sys.meta_path.insert(0, WatchingFinder(steps))
    sys.meta_path.append(ExtFinder())


def _add_locations(loader: Loader, module: ModuleType) -> None:
    """Execute mmdet.registry and tell its registries where the project's parts are."""
    loader.exec_module(module)
    for registry in vars(module).values():
        if isinstance(registry, module.Registry) and registry.scope == "mmdet":
            registry._locations.append("cellseg.registration")


def _replace_loaders_on_use(loader: Loader, module: ModuleType) -> None:
    """Execute MMEngine's module; the first load of a checkpoint brings in our loaders."""
    loader.exec_module(module)
    checkpoint_loader = module.CheckpointLoader
    load = vars(checkpoint_loader)["load_checkpoint"]

    def replace_and_load(*args: Any, **kwargs: Any) -> Any:
        checkpoint_loader.load_checkpoint = load
        importlib.import_module("cellseg.engine.checkpoint_loading")
        return checkpoint_loader.load_checkpoint(*args, **kwargs)

    checkpoint_loader.load_checkpoint = staticmethod(replace_and_load)


def _leave_out_line(loader: Loader, module: ModuleType) -> None:
    """Execute a module of MMDetection that prints a line on each import, without that line."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            loader.exec_module(module)
    finally:
        lines = said.getvalue().splitlines(keepends=True)
        sys.stdout.writelines(line for line in lines if line.strip() != _NEEDLESS_LINE)


def _load_or_report_absent(loader: Loader, module: ModuleType) -> None:
    """Execute torchvision; where that fails for whatever reason, say that there is none."""
    try:
        loader.exec_module(module)
    except ModuleNotFoundError:
        raise
    except Exception as error:
        raise ModuleNotFoundError(
            f"torchvision does not load beside this torch ({error}); install the release that was"
            " built for it, or none",
            name="torchvision",
        ) from error
