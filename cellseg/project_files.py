"""Where the parts of a project lie that `cellseg new` makes; needs no PyTorch.

my-project/config.py    what `cellseg train` reads
my-project/data/        images and label maps in this project's layout
my-project/check/       what `cellseg check` writes
my-project/run/         what training and evaluation write
"""

from __future__ import annotations

from pathlib import Path

CONFIG_NAME = "config.py"
DATA_NAME = "data"
CHECK_NAME = "check"
RUN_NAME = "run"
FOLDS_NAME = "folds"


def is_project(path: str | Path) -> bool:
    """Return whether a folder is a project of `cellseg new`, and not the work folder of a run."""
    folder = Path(path)
    return (folder / CONFIG_NAME).is_file() and not any(folder.glob("*/vis_data"))


def find_project_config(path: str | Path) -> Path | None:
    """Return the config of a project's folder; None where it is none."""
    return Path(path) / CONFIG_NAME if is_project(path) else None


def show_path(path: str | Path) -> str:
    """Write a path for a person: relative where it lies below the current folder."""
    whole = Path(path).absolute()
    return str(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else str(path)
