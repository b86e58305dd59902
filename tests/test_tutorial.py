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
    "source .venv/bin/activate": "cellseg --version",
    "cellseg train my-nuclei\n": "cellseg train my-nuclei --cfg-options train_cfg.max_epochs=1 "
    "train_dataloader.dataset.times=2 default_hooks.logger.interval=1 "
    "default_hooks.visualization.draw=False\n",
}
MADE = [  # what the text says is there afterwards
    "practice/images/0d3640c1f1b8.tif",
    "practice/outlines/0d3640c1f1b8.geojson",
    "my-nuclei/config.py",
    "my-nuclei/data/train/0d3640c1f1b8/class1.tif",
    "my-nuclei/data/val/c0f172831b80/image.tif",
    "my-nuclei/check/page_1.png",
    "my-nuclei/check/suspicious_cells.csv",
    "my-nuclei/run/last_checkpoint",
    "my-nuclei/run/curve.png",
    "my-nuclei/run/report.html",
    "found/c0f172831b80.overlay.png",
    "found/c0f172831b80.cells.csv",
    "found/c0f172831b80.geojson",
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
    """A folder that looks like a clone, with the command on its path."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    command = tmp_path / "bin" / "cellseg"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m cellseg "$@"\n')
    command.chmod(0o755)
    return tmp_path


def test_tutorial_always_is_the_five_commands() -> None:
    text = " ".join(list_commands())
    names = re.findall(r"cellseg (new|check|train|evaluate|predict)\b", text)
    assert names == ["new", "check", "train", "evaluate", "predict"]


@pytest.mark.slow
def test_tutorial_when_followed_then_every_command_works(folder: Path) -> None:
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
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
    assert len((folder / "my-nuclei/config.py").read_text().splitlines()) < 30
    cells = json.loads((folder / "found/c0f172831b80.geojson").read_text())
    assert cells["type"] == "FeatureCollection"
