"""Processes find each other on a CPU, and misfits are told in one sentence."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from torch import distributed

from cellseg.cores import count_cores
from cellseg.engine import LaunchError, init_process_group, set_thread_counts
from cellseg.engine.process_group import (
    choose_slurm_port,
    count_local_processes,
    wait_for_master,
)

ROOT = Path(__file__).parents[2]
NAMES = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *(
        "SLURM_JOB_ID",
        "SLURM_STEP_ID",
        "SLURM_PROCID",
        "SLURM_NTASKS",
        "SLURM_LOCALID",
        "SLURM_NODELIST",
    ),
    *("SLURM_NTASKS_PER_NODE", "OMPI_COMM_WORLD_LOCAL_SIZE", "OMP_NUM_THREADS"),
    *("TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_USE_AGENT_STORE"),
    *("MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM", "TIFFFILE_NUM_THREADS"),
)
SLURM = dict(
    SLURM_JOB_ID="70",
    SLURM_STEP_ID="3",
    SLURM_PROCID="5",
    SLURM_NTASKS="8",
    SLURM_LOCALID="1",
    SLURM_NODELIST="node[3-4]",
    SLURM_NTASKS_PER_NODE="4",
)
MPI = dict(
    OMPI_COMM_WORLD_RANK="5",
    OMPI_COMM_WORLD_LOCAL_RANK="1",
    OMPI_COMM_WORLD_SIZE="8",
    OMPI_COMM_WORLD_LOCAL_SIZE="4",
    MASTER_ADDR="node3",
)
TORCHRUN = dict(
    RANK="5",
    WORLD_SIZE="8",
    LOCAL_RANK="1",
    LOCAL_WORLD_SIZE="4",
    MASTER_ADDR="node3",
    MASTER_PORT="29501",
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give each test an environment and thread counts of its own."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for name in NAMES:
        os.environ.pop(name, None)
    yield os.environ
    torch.set_num_threads(threads)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Note the groups that would be started, and answer for slurm's scontrol."""
    calls: list[tuple] = []
    monkeypatch.setattr(
        "torch.distributed.init_process_group",
        lambda backend, timeout=None: calls.append((backend, timeout)),
    )
    monkeypatch.setattr(
        "cellseg.engine.process_group.subprocess.run",
        lambda command, **kwargs: SimpleNamespace(stdout="node3\nnode4\n"),
    )
    monkeypatch.setattr("cellseg.engine.process_group.watch_processes", lambda: None)
    monkeypatch.setattr("cellseg.engine.process_group.wait_for_master", lambda: None)
    return calls


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: number)


@pytest.mark.parametrize(
    ("launcher", "variables", "port"),
    [("pytorch", TORCHRUN, "29501"), ("slurm", SLURM, "12493"), ("mpi", MPI, "29500")],
)
def test_launcher_when_no_gpu_then_gloo_from_its_environment(
    launcher: str,
    variables: dict[str, str],
    port: str,
    environment: dict[str, str],
    started: list[tuple],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_gpus(monkeypatch, 0)
    environment.update(variables)
    cfg = Config(
        dict(
            env_cfg=dict(dist_cfg=dict(backend="nccl", timeout=60)),
            val_evaluator=dict(type="CellMetric"),
            test_evaluator=[dict(type="CellMetric", collect_device="cpu"), dict(type="Dump")],
        )
    )
    init_process_group(cfg, launcher)
    assert [(backend, timeout.seconds) for backend, timeout in started] == [("gloo", 60)]
    ranks = [environment[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")]
    assert ranks == ["5", "8", "1"]
    assert (environment["MASTER_ADDR"], environment["MASTER_PORT"]) == ("node3", port)
    assert cfg.launcher == launcher
    assert cfg.env_cfg.dist_cfg.backend == "gloo"
    assert cfg.model_wrapper_cfg == dict(
        type="MMDistributedDataParallel",
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=False,
    )
    assert cfg.custom_hooks == [dict(type="SyncBuffersHook")]
    assert cfg.val_evaluator.collect_device == "gpu"  # by all_gather, which is gloo's here
    assert [metric.collect_device for metric in cfg.test_evaluator] == ["cpu", "gpu"]
    assert torch.get_num_threads() == max(1, count_cores() // 4)


@pytest.mark.parametrize(("gpus", "backend"), [(0, "gloo"), (1, "nccl")])
def test_group_when_torchrun_starts_it_again_then_it_does_not_meet_the_one_before(
    gpus: int, backend: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_gpus(monkeypatch, gpus)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr("cellseg.engine.process_group.watch_processes", lambda: None)
    starts = []
    monkeypatch.setattr(
        "torch.distributed.init_process_group",
        lambda backend, **settings: starts.append((backend, settings)),
    )
    kept = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    kept.set("address", "of a process that is gone")
    environment.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(kept.port), WORLD_SIZE="1")
    environment.update(RANK="0", LOCAL_RANK="0", LOCAL_WORLD_SIZE="1")
    environment.update(TORCHELASTIC_RESTART_COUNT="2", TORCHELASTIC_USE_AGENT_STORE="True")
    init_process_group(Config(), "pytorch")
    ((started, settings),) = starts
    assert started == backend
    assert (settings["rank"], settings["world_size"]) == (0, 1)
    assert not settings["store"].check(["address"])
    settings["store"].set("address", "new")
    assert kept.get("address") == b"of a process that is gone"


def test_port_when_jobs_differ_then_so_does_it(environment: dict[str, str]) -> None:
    ports = set()
    for job in range(1000, 1040):
        environment["SLURM_JOB_ID"] = str(job)
        for step in range(3):
            environment["SLURM_STEP_ID"] = str(step)
            ports.add(int(choose_slurm_port()))
    assert len(ports) == 120
    assert all(12_000 <= port < 32_000 for port in ports)


@pytest.mark.parametrize(
    ("host", "problem"), [("no-such-node.invalid", "the name is unknown"), ("127.0.0.1", "listens")]
)
def test_master_when_it_cannot_be_reached_then_one_sentence(
    host: str, problem: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cellseg.engine.process_group._STARTING_S", 0.5)
    environment.update(RANK="1", MASTER_ADDR=host, MASTER_PORT="9")
    with pytest.raises(LaunchError, match=rf"cannot reach .*{host}:9 .*{problem}.*set MASTER_ADDR"):
        wait_for_master()


def test_master_when_it_listens_then_it_is_found(environment: dict[str, str]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
        environment.update(RANK="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        listener.listen()
        wait_for_master()
    environment["RANK"] = "0"
    wait_for_master()


def test_master_when_it_is_late_then_that_is_said_once_and_it_is_waited_for(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("cellseg.engine.process_group._TOLD_S", 0.3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
        environment.update(RANK="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)

        def note(text: str, *_: object) -> None:
            said.append(text)
            threading.Timer(0.7, listener.listen).start()

        monkeypatch.setattr("cellseg.engine.process_group.print_log", note)
        wait_for_master()
    (line,) = said
    assert f"127.0.0.1:{port} yet (nothing listens there); it tries for 5 minutes" in line
    assert "set MASTER_ADDR" in line


def test_launcher_when_gpus_then_mmengine_starts_the_group(
    environment: dict[str, str], started: list[tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_gpus(monkeypatch, 4)
    environment.update(TORCHRUN)
    cfg = Config(dict(custom_hooks=[dict(type="SyncBuffersHook")]))
    init_process_group(cfg, "pytorch")
    assert started == []
    assert "model_wrapper_cfg" not in cfg
    assert len(cfg.custom_hooks) == 1


@pytest.mark.parametrize(("launcher", "variables"), [("pytorch", TORCHRUN), ("slurm", SLURM)])
def test_launcher_when_more_processes_than_gpus_then_error(
    launcher: str,
    variables: dict[str, str],
    environment: dict[str, str],
    started: list[tuple],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_gpus(monkeypatch, 3)
    environment.update(variables)
    with pytest.raises(LaunchError, match=r"4 processes on a machine where each sees 3 GPU\(s\)"):
        init_process_group(Config(), launcher)


@pytest.mark.parametrize(
    ("launcher", "name"),
    [("pytorch", "RANK"), ("slurm", "SLURM_PROCID"), ("mpi", "OMPI_COMM_WORLD_RANK")],
)
def test_launcher_when_its_environment_is_missing_then_error_names_it(
    launcher: str, name: str
) -> None:
    with pytest.raises(LaunchError, match=f"--launcher {launcher} needs .* {name}; start"):
        init_process_group(Config(), launcher)


def test_launcher_when_none_then_config_is_left_alone(started: list[tuple]) -> None:
    cfg = Config(dict(model=1))
    init_process_group(cfg, "none")
    assert (dict(cfg), started) == (dict(model=1, launcher="none"), [])


def test_wrapper_when_config_sets_it_then_its_settings_stay(
    environment: dict[str, str], started: list[tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_gpus(monkeypatch, 0)
    environment.update(TORCHRUN)
    cfg = Config(dict(model_wrapper_cfg=dict(static_graph=True), find_unused_parameters=True))
    init_process_group(cfg, "pytorch")
    assert cfg.model_wrapper_cfg.static_graph
    assert cfg.model_wrapper_cfg.find_unused_parameters
    assert cfg.model_wrapper_cfg.device_ids is None


def test_threads_when_variable_is_set_then_it_wins(environment: dict[str, str]) -> None:
    environment["OMP_NUM_THREADS"] = "1"
    assert set_thread_counts() == 1
    assert environment["TIFFFILE_NUM_THREADS"] == "1"


def test_threads_when_one_process_then_all_cores(environment: dict[str, str]) -> None:
    assert set_thread_counts() == count_cores()
    assert "OMP_NUM_THREADS" not in environment


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, 1), ({"LOCAL_WORLD_SIZE": "3"}, 3), ({"SLURM_NTASKS_PER_NODE": "2(x3)"}, 2)],
)
def test_local_processes_when_launcher_says_then_counted(
    variables: dict[str, str], expected: int, environment: dict[str, str]
) -> None:
    environment.update(variables)
    assert count_local_processes() == expected


TWO_PROCESSES = """
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import get_rank

from cellseg.engine import init_process_group
from tests.engine.test_channels_last_hook import ToyNet
from tests.engine.toy_training import build_runner

cfg = Config(dict(custom_hooks=[dict(type="ChannelsLastHook", always=True)]))
init_process_group(cfg, "pytorch")
runner = build_runner(
    Path(sys.argv[1]),
    model=ToyNet(),
    epochs=2,
    launcher="pytorch",
    env_cfg=cfg.env_cfg,
    cfg=dict(model_wrapper_cfg=cfg.model_wrapper_cfg),
    custom_hooks=list(cfg.custom_hooks),
)
runner.train()
state = {name: value.tolist() for name, value in runner.model.module.state_dict().items()}
Path(sys.argv[1], f"state{get_rank()}").write_text(repr(state))
"""


@pytest.mark.slow
def test_training_when_two_processes_on_cpu_then_they_agree(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES)
    environment.update(OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
        *(str(script), str(tmp_path)),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    states = [(tmp_path / f"state{rank}").read_text() for rank in range(2)]
    assert states[0] == states[1]  # weights, and batch norm statistics
    assert (tmp_path / "epoch_2.pth").is_file()
