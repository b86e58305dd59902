"""A home folder that may not be read, as on some clusters: everything works, without its caches."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
# Root may read everything, unless that power is taken from it.
WITHOUT_POWER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="modes bind on POSIX systems only"),
    pytest.mark.skipif(
        IS_ROOT and shutil.which("setpriv") is None, reason="root can read everything"
    ),
]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0)
    yield home
    home.chmod(0o700)


def run(home: Path, *words: str) -> str:
    """Run Python without a readable home; what it wrote, if it went well."""
    removed = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR")
    environment = {key: value for key, value in os.environ.items() if key not in removed}
    environment |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*(WITHOUT_POWER if IS_ROOT else ()), sys.executable, *words]
    done = subprocess.run(
        command, cwd=home.parent, env=environment, capture_output=True, text=True, timeout=600
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-2000:]
    assert "Traceback" not in said
    return said


def test_home_when_unreadable_then_it_really_is(home: Path) -> None:
    code = "import os, sys; sys.exit(os.access(os.environ['HOME'], os.R_OK | os.X_OK))"
    run(home, "-c", code)


@pytest.mark.slow
def test_data_when_neither_its_folder_nor_home_can_keep_a_cache_then_said_and_read(
    home: Path,
) -> None:
    words = ["--train", "2", "--val", "1", "--size", "64", "--cells", "4"]
    run(home, "-m", "cellseg", "draw-sample-data", "data", *words)
    (home.parent / "data" / "train").chmod(0o500)
    code = (
        "from cellseg.datasets import CellDataset; "
        "print(len(CellDataset(data_root='data/train', pipeline=[])), 'images')"
    )
    said = run(home, "-c", code)
    assert "2 images" in said
    assert "Annotations are not cached" in said


def test_shipped_models_when_home_is_unreadable_then_listed(home: Path) -> None:
    assert "nuclei-cc0" in run(home, "-m", "cellseg", "models")
