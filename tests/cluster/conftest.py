"""Images, a model that sees perfectly, and two real workers on this machine."""

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tifffile
import torch

from cellseg.formats.outputs import FORMATS as OUTPUT_FORMATS
from tests.cluster.fault_oracle import KILLING
from tests.inference.oracle import draw_label_map, oracle_config, paint_label_map

ROOT = Path(__file__).resolve().parents[2]
HAS_PYARROW = importlib.util.find_spec("pyarrow") is not None
FORMATS = tuple(name for name in OUTPUT_FORMATS if HAS_PYARROW or name != "parquet")
TILED = ("--tile", 320, "--overlap", 64, "--scale", 1, "--batch-size", 1)


def digests(folder: Path) -> dict[str, str]:
    """Sum up the outputs of images: all files but those that only a cohort has."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(("cohort.", "."))
    }


def list_parts(out: Path) -> list[Path]:
    """Return the finished parts of a run that goes on; its folders may vanish meanwhile."""
    walked = os.walk(out / ".units")
    return [Path(a, name) for a, _, names in walked for name in names if name.endswith(".npz")]


def paint_killer(path: Path) -> None:
    """Paint an image that kills the process that looks at it."""
    image = paint_label_map(draw_label_map(150, seed=3))
    image[0, 0] = KILLING
    tifffile.imwrite(path, image, photometric="rgb")


class Setting:
    """A config, its weights, and images; `run` predicts them with the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.config = folder / "config.py"
        self.weights = folder / "weights.pth"

    def command(self, out: Path, *flags: object, inputs: tuple[object, ...] = ()) -> list[str]:
        return [
            *(sys.executable, "-m", "cellseg", "predict", *map(str, inputs or (self.images,))),
            *("--config", str(self.config), "--checkpoint", str(self.weights)),
            *("--out", str(out), "--device", "cpu", *map(str, flags)),
        ]

    def run(
        self,
        out: Path,
        *flags: object,
        inputs: tuple[object, ...] = (),
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        command = self.command(out, *flags, inputs=inputs)
        return subprocess.run(
            command, env=make_env(env), capture_output=True, text=True, timeout=420
        )


def make_env(more: dict[str, str] | None = None) -> dict[str, str]:
    """Make the environment of a command; its workers inherit it."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(more or {})}


@pytest.fixture(scope="session")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """Four small images and a large one that is cut into 25 tiles."""
    setting = Setting(tmp_path_factory.mktemp("cohort"))
    cfg = oracle_config()
    cfg.model.type = "FaultOracle"
    cfg.custom_imports = {"imports": ["tests.cluster.fault_oracle"], "allow_failed_imports": False}
    cfg.dump(setting.config)
    torch.save({"state_dict": {}, "meta": {}}, setting.weights)
    setting.images.mkdir()
    for seed, size in enumerate((180, 240, 300, 150)):
        image = paint_label_map(draw_label_map(size, seed=seed))
        tifffile.imwrite(setting.images / f"small{seed}.tif", image, photometric="rgb")
    slide = paint_label_map(draw_label_map(1300, seed=9))
    tifffile.imwrite(setting.images / "slide.tif", slide, photometric="rgb", tile=(256, 256))
    return setting


@pytest.fixture(scope="session")
def alone(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one process writes for all images, as checksums."""
    out = tmp_path_factory.mktemp("alone")
    done = setting.run(out, *TILED, "--format", *FORMATS)
    assert done.returncode == 0, done.stderr
    return digests(out)


@pytest.fixture(scope="session")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Two workers on this machine, for all tests that leave them alive."""
    from cellseg.cluster.clients import start_local

    before = dict(os.environ)
    os.environ.update(make_env())
    try:
        with start_local(2) as connection:
            yield connection
    finally:
        os.environ.clear()
        os.environ.update(before)
