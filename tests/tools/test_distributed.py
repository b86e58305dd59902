"""Two gloo processes on the CPU train and test, and test exactly as one does."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cellseg.engine import load_checkpoint_file
from tests.engine.conftest import small_sample  # noqa: F401  (a fixture)

ROOT = Path(__file__).parents[2]
CONFIG = "configs/cell/mask-rcnn_r18_small-anchor_demo.py"


def run(command: list[str], **variables: str) -> str:
    """Run a tool in the repository's root with one thread per process, and return its log."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    env.update(variables)
    done = subprocess.run(
        command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def free_port() -> str:
    """Return a port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def read_metrics(work_dir: Path) -> dict[str, float]:
    """Return the metrics that a test run wrote to its folder, without its times."""
    (log,) = work_dir.glob("*/*.json")
    scalars = json.loads(log.read_text().splitlines()[-1])
    return {name: value for name, value in scalars.items() if name.startswith("coco/")}


@pytest.mark.slow
def test_two_processes_when_training_and_testing_then_metrics_are_those_of_one(
    tmp_path: Path,
    small_sample: list[str],  # noqa: F811
) -> None:
    options = [
        *("--cfg-options", *small_sample, "train_cfg.max_epochs=2", "train_cfg.val_interval=2"),
        *("default_hooks.checkpoint.interval=2", "test_dataloader.batch_size=1"),
        # so that a barely trained model finds something to compare
        "model.test_cfg.rcnn.score_thr=0.001",
    ]
    work_dir = tmp_path / "train"
    log = run(
        ["tools/dist_train.sh", CONFIG, "2", "--verbose", "--work-dir", str(work_dir), *options],
        PORT=free_port(),
    )
    assert re.search(r"GPU number: 2", log)
    checkpoint = work_dir / "epoch_2.pth"
    # five images, two processes, one image per step: three steps per epoch
    assert load_checkpoint_file(checkpoint)["meta"]["iter"] == 6

    one = ["--work-dir", str(tmp_path / "one"), *options]
    run([sys.executable, "tools/test.py", CONFIG, str(checkpoint), *one])
    two = ["--work-dir", str(tmp_path / "two"), *options]
    run(["tools/dist_test.sh", CONFIG, str(checkpoint), "2", *two], PORT=free_port())
    metrics = read_metrics(tmp_path / "one")
    assert "coco/segm_mAP" in metrics
    assert read_metrics(tmp_path / "two") == metrics
    assert not list((ROOT / ".dist_test").glob("*"))


@pytest.mark.parametrize(
    ("script", "arguments"),
    [("dist_train", 1), ("dist_test", 2), ("slurm_train", 2), ("slurm_test", 3)],
)
def test_script_when_arguments_are_missing_then_usage(script: str, arguments: int) -> None:
    command = [f"tools/{script}.sh", *["x"] * arguments]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: tools/{script}.sh ")


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """Return an environment whose python and srun write down their arguments, and that file."""
    record = tmp_path / "arguments"
    for name in ("python", "srun"):
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$OMP_NUM_THREADS" "$@" > "{record}"\n')
        script.chmod(0o755)
    env = {key: value for key, value in os.environ.items() if key not in ("PORT", "PYTHON")}
    return dict(env, PATH=f"{tmp_path}:{env['PATH']}", OMP_NUM_THREADS="3"), record


def test_dist_script_when_called_then_torchrun_gets_every_argument(
    recorded: tuple[dict[str, str], Path],
) -> None:
    env, record = recorded
    env.update(NNODES="2", NODE_RANK="1", MASTER_ADDR="10.0.0.1", PORT="29511")
    command = ["tools/dist_train.sh", "a config.py", "4", "--cfg-options", "a=[1, 2]"]
    subprocess.run(command, cwd=ROOT, env=env, check=True)
    threads, *arguments = record.read_text().splitlines()
    assert threads == "3"
    assert arguments == [
        *("-m", "torch.distributed.run", "--nnodes=2", "--node_rank=1"),
        *("--master_addr=10.0.0.1", "--master_port=29511", "--nproc_per_node=4"),
        *(f"{ROOT}/tools/train.py", "a config.py", "--launcher", "pytorch"),
        *("--cfg-options", "a=[1, 2]"),
    ]


@pytest.mark.parametrize("work_dir", [[], ["my runs/a"]])
def test_slurm_script_when_called_then_srun_gets_every_argument(
    work_dir: list[str], recorded: tuple[dict[str, str], Path]
) -> None:
    env, record = recorded
    env.update(GPUS="16", GPUS_PER_NODE="8", SRUN_ARGS="--time=9 --qos=x")
    command = ["tools/slurm_train.sh", "gpu", "a job", "a.py", *work_dir, "--amp"]
    subprocess.run(command, cwd=ROOT, env=env, check=True)
    _, *arguments = record.read_text().splitlines()
    assert arguments == [
        *("--partition=gpu", "--job-name=a job", "--ntasks=16", "--ntasks-per-node=8"),
        *("--cpus-per-task=5", "--kill-on-bad-exit=1", "--time=9", "--qos=x", "--gres=gpu:8"),
        *("python", "-u", f"{ROOT}/tools/train.py", "a.py", "--launcher", "slurm"),
        *(["--work-dir", *work_dir] if work_dir else []),
        "--amp",
    ]


def test_slurm_test_script_when_no_gpus_then_none_are_asked_for(
    recorded: tuple[dict[str, str], Path],
) -> None:
    env, record = recorded
    env.update(GPUS="4", GPUS_PER_NODE="0", NTASKS_PER_NODE="2")
    command = ["tools/slurm_test.sh", "cpu", "job", "a.py", "a.pth", "--out", "r.json"]
    subprocess.run(command, cwd=ROOT, env=env, check=True)
    arguments = record.read_text().splitlines()
    assert "--ntasks-per-node=2" in arguments
    assert not any(argument.startswith("--gres") for argument in arguments)
    assert arguments[-7:] == [
        f"{ROOT}/tools/test.py",
        *("a.py", "a.pth", "--launcher", "slurm", "--out", "r.json"),
    ]
