"""On a real SLURM of two nodes on loopback, which start_slurm.sh starts."""

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("dask_jobqueue", reason="the extra cluster is not installed")

from cellseg.cluster.clients import SlurmOptions, start_slurm
from cellseg.cluster.cohort import predict_cohort
from cellseg.engine import load_checkpoint_file
from cellseg.errors import CellsegError
from cellseg.inference.image_list import find_input_images
from cellseg.inference.output_folder import OutputOptions
from tests.engine.conftest import small_sample  # noqa: F401  (a fixture)
from tests.tools.test_distributed import CONFIG, free_port

from .conftest import FORMATS, ROOT, Setting, digests, list_parts, make_env
from .fault_oracle import DELAY_NAME, SEEN_NAME
from .test_cohort import make_recipe
from .test_faults import wait_for

START = ROOT / "tests" / "cluster" / "start_slurm.sh"
pytestmark = [
    pytest.mark.skipif(shutil.which("slurmctld") is None, reason="slurm-wlm is not installed"),
    pytest.mark.skipif(
        getattr(os, "getuid", lambda: 1)() != 0, reason="only root can start node daemons"
    ),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start SLURM, and stop it by the numbers of its processes."""
    folder = tmp_path_factory.mktemp("slurm")
    before = dict(os.environ)
    os.environ["SLURM_TEST_PORT"] = str(find_free_ports())
    # daemons would keep pipes open
    subprocess.run([START, folder], check=True, stdin=subprocess.DEVNULL, timeout=120)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        yield folder
    finally:
        subprocess.run(["scancel", "--user", "root"], check=False, timeout=30)
        subprocess.run([START, folder, "stop"], check=True, timeout=120)
        os.environ.clear()
        os.environ.update(before)


def find_free_ports() -> int:
    """Return the first of three ports that nothing listens on; each test process has its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for base in range(17_000 + 10 * worker, 20_000, 100):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(base, base + 3):
                listener = stack.enter_context(socket.socket())
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(("0.0.0.0", port))
            return base
    raise RuntimeError("There are no three free ports from 17000 to 20000.")


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SlurmOptions("nowhere", 1), r"--slurm nowhere \(.*invalid partition specified: nowhere"),
        (SlurmOptions("debug", 1, gpus=1), r"\(.*[Ii]nvalid generic resource \(gres\)"),
    ],
)
def test_jobs_when_slurm_refuses_them_then_its_own_words_are_said(
    slurm, tmp_path, monkeypatch, options, message
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CellsegError, match=message), start_slurm(options):
        pass
    assert ask("squeue", "--noheader") == ""


@pytest.mark.parametrize("script", ["slurm_train.sh", "slurm_test.sh"])
def test_script_when_slurm_refuses_the_job_then_it_says_what_to_change(slurm, script) -> None:
    done = subprocess.run(
        [ROOT / "tools" / script, "nowhere", "job", "config.py", "x.pth"],
        env={**os.environ, "GPUS": "2", "GPUS_PER_NODE": "0", "CPUS_PER_TASK": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "invalid partition specified: nowhere" in done.stderr
    assert "change PARTITION" in done.stderr


@pytest.mark.slow
def test_cohort_when_a_job_is_cancelled_then_bytes_are_those_of_one_process(
    slurm, setting: Setting, alone: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen, out = tmp_path / "seen", tmp_path / "out"
    seen.mkdir()
    for name, value in make_env({SEEN_NAME: str(seen), DELAY_NAME: "0.3"}).items():
        monkeypatch.setenv(name, value)
    images = find_input_images([setting.images])
    options = SlurmOptions("debug", 2, cores=1, memory="8GB", walltime="00:30:00")
    with start_slurm(options) as connection:
        connection.client.wait_for_workers(2, timeout=400)
        cancelled = []

        def cancel_once(line: str) -> None:
            if not cancelled and list_parts(out):
                cancelled.extend(ask("squeue", "--noheader", "--format=%A").split()[:1])
                ask("scancel", *cancelled)

        monkeypatch.setattr("cellseg.cluster.progress._EVERY_S", 0.2)
        monkeypatch.setattr("cellseg.cluster.progress._FIRST_S", 0.2)
        written = OutputOptions(out, FORMATS)
        outcomes = predict_cohort(connection, make_recipe(setting), images, written, cancel_once)
    assert cancelled
    assert [outcome.error for outcome in outcomes] == [None] * 5
    assert digests(out) == alone
    wait_for(lambda: ask("squeue", "--noheader") == "", 90)  # all jobs are given back


@pytest.mark.slow
def test_training_when_it_is_told_to_end_then_it_goes_on_by_itself(
    slurm,
    tmp_path: Path,
    small_sample: list[str],  # noqa: F811
) -> None:
    options = [
        "--verbose",  # MMEngine's lines are waited for
        *("--cfg-options", *small_sample, "train_cfg.max_epochs=3", "train_cfg.val_interval=3"),
        *("default_hooks.checkpoint.interval=3", "randomness.seed=5"),
        *("train_dataloader.num_workers=1", "val_dataloader.num_workers=1"),
    ]
    env = {**make_env(), "PYTHON": sys.executable, "PORT": free_port()}
    whole = ["tools/dist_train.sh", CONFIG, "2", "--work-dir", str(tmp_path / "whole")]
    subprocess.run([*whole, *options], cwd=ROOT, env=env, check=True, capture_output=True)
    log, broken = tmp_path / "log", tmp_path / "broken"
    env |= {"GPUS": "2", "GPUS_PER_NODE": "0", "NTASKS_PER_NODE": "1", "CPUS_PER_TASK": "1"}
    env["SBATCH_ARGS"] = f"--time=00:40:00 --output={log}"
    command = ["tools/slurm_train.sh", "debug", "train", CONFIG, str(broken), *options]
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    job = ask("squeue", "--noheader", "--format=%A")
    # rank 0 has written the config when it is about to train
    wait_for(lambda: log.exists() and "Checkpoints will be saved to" in log.read_text(), 600)
    ask("scancel", "--signal=USR1", job)
    wait_for(lambda: "Restarts=1" in ask("scontrol", "show", "job", job), 300)
    wait_for(lambda: "JobState=COMPLETED" in ask("scontrol", "show", "job", job), 900)
    assert "interrupted.pth" in log.read_text()
    assert "resumed epoch" in log.read_text()
    metas = [
        load_checkpoint_file(folder / "epoch_3.pth")["meta"]
        for folder in (tmp_path / "whole", broken)
    ]
    assert metas[0]["iter"] == metas[1]["iter"]
    assert metas[0]["seed"] == metas[1]["seed"]


@pytest.mark.slow
def test_array_when_each_job_trains_a_fold_then_the_table_is_gathered(
    slurm,
    tmp_path: Path,
    small_sample: list[str],  # noqa: F811
) -> None:
    command = [sys.executable, "-m", "cellseg", "cross-validate", str(ROOT / CONFIG)]
    command += ["--num-folds", "2", "--work-dir", str(tmp_path / "folds"), "--cfg-options"]
    command += [*small_sample, "train_cfg.max_epochs=1", "default_hooks.checkpoint.interval=1"]
    command += ["train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False"]
    env = make_env()
    one_fold = shlex.join(command).replace("--num-folds", "--fold $SLURM_ARRAY_TASK_ID --num-folds")
    array = ["sbatch", "--wait", "--array=0-1", "--ntasks=1", "--cpus-per-task=1"]
    array += [f"--output={tmp_path}/log_%a", "--wrap", f"srun {one_fold}"]
    done = subprocess.run(array, cwd=tmp_path, env=env, capture_output=True, text=True)
    logs = "".join(log.read_text()[-2000:] for log in tmp_path.glob("log_*"))
    assert done.returncode == 0, done.stderr + logs
    table = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert re.search(r"^all +2 ", table.stdout, re.MULTILINE), table.stdout + table.stderr
