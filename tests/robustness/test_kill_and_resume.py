"""A training that is killed leaves no process and no half file, and goes on where it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = (
    *("train_dataloader.batch_size=2", "train_dataloader.num_workers=2"),
    *("val_dataloader.num_workers=1", "default_hooks.checkpoint.interval=1"),
    *("train_cfg.max_epochs=3", "train_cfg.val_interval=3"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data/sample, small."""
    folder = tmp_path_factory.mktemp("kills")
    words = ["--train", "4", "--val", "1", "--size", "96", "--cells", "6"]
    run(folder, "draw-sample-data", "data/sample", *words)
    return folder


def make_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "cellseg", *words]
    done = subprocess.run(
        command, cwd=folder, env=make_environment(), capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


def list_processes(name: str) -> list[int]:
    """List the processes, data loaders among them, whose command line names a work dir."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if name.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="of Linux only")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_training_when_killed_then_nothing_is_left_and_it_goes_on(folder: Path, name: str) -> None:
    work_dir = f"work_{name}"
    train = ["train", "mask-rcnn_r18_small-anchor_demo", "--work-dir", work_dir]
    train += ["--cfg-options", *OPTIONS]
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cellseg", *train],
            cwd=folder, env=make_environment(), stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + 1200
        while not (folder / work_dir / "epoch_1.pth").exists():
            assert process.poll() is None, (folder / f"{name}.log").read_text()[-2000:]
            assert time.monotonic() < until
            time.sleep(0.2)
        if name == "SIGTERM":  # SLURM and `timeout` send it to all processes, loaders' too
            os.killpg(process.pid, signal.SIGTERM)
        else:
            process.kill()
        process.wait(300)
    until = time.monotonic() + 60
    while list_processes(work_dir) and time.monotonic() < until:
        time.sleep(0.2)
    assert list_processes(work_dir) == []
    assert "Traceback" not in (folder / f"{name}.log").read_text()
    assert (folder / work_dir / "interrupted.pth").exists() == (name == "SIGTERM")
    said = run(folder, *train, "--resume")
    assert "epoch_" in said
    assert (folder / work_dir / "epoch_3.pth").exists()
    left = [path.name for path in (folder / work_dir).iterdir()]
    assert [path for path in left if path.endswith(".part") or path == ".training"] == []
