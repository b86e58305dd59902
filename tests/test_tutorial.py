"""The tutorial, followed to the letter: its commands run in order, in a folder of their own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "tutorial.md"
SHORTER = {  # all that is not run as it stands
    "make install": ".venv/bin/python tools/check_install.py",
    "--train 30 --val 4": "--train 6 --val 1",
    "max_epochs=40, val_interval=10": "max_epochs=1, val_interval=1",
}
MADE = [  # what the text says is there afterwards
    "data/qupath/images/train_0000.tif",
    "data/qupath/geojson/train_0000.geojson",
    "data/new/images/val_0000.tif",
    "data/mine/conversion.csv",
    "data/mine/train_0000/image.tif",
    "data/mine/train_0000/class1.tif",
    "data/mine_cellpose/train_0000/class1.tif",
    "work_dirs/look/dataset_report.png",
    "work_dirs/look/page_1.png",
    "work_dirs/my_cells/last_checkpoint",
    "work_dirs/my_cells/report.html",
    "work_dirs/my_cells/curves.png",
    "predictions/val_0000.overlay.png",
    "predictions/val_0000.cells.csv",
    "predictions/val_0000.geojson",
]


def list_commands() -> list[str]:
    """List the blocks of commands, shortened."""
    page = PAGE.read_text(encoding="utf-8")
    text = "\0".join(re.findall(r"^```bash\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    for long, short in SHORTER.items():
        assert text.count(long) == 1, f"the tutorial must say once: {long}"
        text = text.replace(long, short)
    return text.split("\0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that looks like a clone, and whose data and results are its own."""
    for name in ("tools", "configs", "cellseg"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def test_tutorial_always_has_the_commands_that_are_shortened() -> None:
    assert len(list_commands()) >= 9


@pytest.mark.slow
def test_tutorial_when_followed_then_every_command_works(folder: Path) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    for block in list_commands():
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert [name for name in MADE if not (folder / name).is_file()] == []
    cells = json.loads((folder / "predictions" / "val_0000.geojson").read_text())
    assert cells["type"] == "FeatureCollection"
