"""Find the configs that come with the package, by name, wherever the package is installed."""

from __future__ import annotations

import ast
import difflib
from pathlib import Path

from cellseg.errors import CellsegError
from cellseg.project_files import find_project_config

_PACKAGE = Path(__file__).resolve().parent


def configs_folder() -> Path:
    """Return the folder of the shipped configs: inside an installed package, else of the checkout.

    Raises:
        CellsegError: If there is neither.
    """
    for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs"):
        if (folder / "_base_").is_dir():
            return folder
    raise CellsegError(
        f"The configs that belong to cellseg are not in {_PACKAGE}; install the package again."
    )


def list_configs() -> dict[str, Path]:
    """Return the shipped configs by name, in order."""
    paths = sorted((configs_folder() / "cell").glob("*.py"))
    return {path.stem: path for path in paths}


def describe_config(path: Path) -> str:
    """Return the first line of a config's docstring, without running the config."""
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return doc.partition("\n")[0]


def find_config(name: str | Path) -> Path:
    """Find a config file.

    Args:
        name: A path; the folder of a project that `cellseg new` made; or the name of a shipped
            config, with or without .py.

    Returns:
        The file. A path that exists goes before a shipped config of that name.

    Raises:
        CellsegError: If there is no such file; the sentence names the nearest shipped configs.
    """
    path = Path(name)
    if path.is_file():
        return path
    if (project := find_project_config(path)) is not None:
        return project
    shipped, stem = list_configs(), path.name.removesuffix(".py")
    if path.parent == Path() and stem in shipped:
        return shipped[stem]
    if path.suffix == ".py" or path.parent != Path():
        start = f"There is no config file {path}"
    else:
        start = f"There is no config {path}"
    if stem in shipped:
        raise CellsegError(f"{start}; the config that comes with cellseg is called {stem}.")
    near = difflib.get_close_matches(stem, shipped, n=3, cutoff=0.5)
    if near:
        raise CellsegError(
            f"{start}; the nearest that come with cellseg are {', '.join(near)}. "
            "`cellseg configs` lists them all."
        )
    if path.is_dir():
        start = f"{path} is a folder without a config.py"
    raise CellsegError(
        f"{start}; `cellseg new` makes a project with one, and `cellseg configs` lists those that "
        "come with cellseg."
    )


def find_source(name: str | Path) -> Path:
    """Find a config as `find_config` does, or a folder of images.

    Args:
        name: A folder of images, or what `find_config` takes.

    Returns:
        The folder or file.

    Raises:
        CellsegError: If there is neither.
    """
    path = Path(name)
    if (project := find_project_config(path)) is not None:
        return project
    if path.exists():
        return path
    try:
        return find_config(name)
    except CellsegError as error:
        raise CellsegError(f"{name} is neither a folder of images nor a config. {error}") from None
