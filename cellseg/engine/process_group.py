"""Start the processes' group and share out the cores before the Runner is built.

MMEngine starts the group itself on GPUs. Without one it cannot (a CPU-only torch has no
``torch.cuda.set_device``), so gloo is started here, from the launcher's own environment variables;
the Runner keeps a group that it finds.
"""

import atexit
import datetime
import logging
import os
import socket
import subprocess
import time
from typing import Any

import cv2
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import distributed

from cellseg.cores import count_cores
from cellseg.engine.lost_processes import watch_processes
from cellseg.errors import CellsegError

_DEFAULT_PORT = "29500"
_FIRST_PORT, _PORTS = 12_000, 20_000  # of SLURM's jobs
_UNREACHABLE_S = 40.0
_STARTING_S = 300.0  # until the first process listens: on a cold disk, imports take minutes
_TOLD_S = 30.0  # until that wait is mentioned, as the address may be wrong
_LOCAL_COUNT_NAMES = ("LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE", "OMPI_COMM_WORLD_LOCAL_SIZE")


class LaunchError(CellsegError):
    """The processes were not started as the launcher flag says, or do not fit the machine."""


def init_process_group(cfg: Config, launcher: str) -> None:
    """Prepare a run for its launcher: process group, model wrapper, buffers and threads.

    On GPUs, nccl and the model wrapper are left to MMEngine. ``find_unused_parameters`` stays off
    unless the config sets it: every head of Mask R-CNN yields a loss on an image without cells too,
    so that each parameter has a gradient in every step.

    Args:
        cfg: The run's config, changed in place: ``launcher`` and, with several processes,
            ``custom_hooks`` (batch norm statistics are averaged over the processes after each
            epoch) and the evaluators' ``collect_device`` (results are gathered over the network,
            not through pickles in a folder that every machine shares), and without a GPU
            ``model_wrapper_cfg`` and ``env_cfg.dist_cfg``.
        launcher: "none", "pytorch" (torchrun), "slurm" or "mpi".

    Raises:
        LaunchError: If the launcher's environment is missing, or there are more processes than
            GPUs.
    """
    cfg.launcher = launcher
    if launcher != "none":
        _export_ranks(launcher)
    set_thread_counts(launcher)
    if launcher == "none":
        return
    _average_buffers(cfg)
    _gather_in_memory(cfg)
    if launcher != "pytorch" and not distributed.is_initialized():  # torchrun has met them
        wait_for_master()
    if torch.cuda.is_available():
        _require_one_gpu_each(launcher)
        if _is_restarted():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            _start_group(cfg, "nccl")
        return
    _start_gloo(cfg)
    wrapper = dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=cfg.get("find_unused_parameters", False),
    )
    wrapper.update(cfg.get("model_wrapper_cfg") or {})
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


def set_thread_counts(launcher: str = "none") -> int:
    """Share this machine's cores between its processes; loader workers get one thread each.

    ``OMP_NUM_THREADS`` wins where it is set (torchrun sets it to 1 unless told otherwise). The
    workers inherit the limits through the environment, whether they are forked or spawned.

    Args:
        launcher: As for ``init_process_group``.

    Returns:
        The number of threads that torch uses in this process.
    """
    local_processes = 1 if launcher == "none" else count_local_processes()
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    threads = int(wanted) if wanted.isdigit() else max(1, count_cores() // local_processes)
    torch.set_num_threads(max(1, threads))
    cv2.setNumThreads(0)  # as MMEngine does in the workers: its threads do not survive a fork
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        if launcher != "none":  # else MMEngine would set 1 and warn
            os.environ.setdefault(name, str(threads))
    for name in ("OPENCV_FOR_THREADS_NUM", "TIFFFILE_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    return torch.get_num_threads()


def count_local_processes() -> int:
    """Count the launcher's processes on this machine, from the launcher's environment."""
    for name in _LOCAL_COUNT_NAMES:
        value = os.environ.get(name, "").split("(")[0]  # slurm writes 2(x3)
        if value.isdigit():
            return max(1, int(value))
    return 1


def _export_ranks(launcher: str) -> None:
    """Put RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT into the environment."""
    try:
        if launcher == "slurm":
            _export_slurm_ranks()
        elif launcher == "mpi":
            for name in ("RANK", "LOCAL_RANK"):
                os.environ[name] = os.environ[f"OMPI_COMM_WORLD_{name}"]
            os.environ["WORLD_SIZE"] = os.environ["OMPI_COMM_WORLD_SIZE"]
            os.environ.setdefault("MASTER_PORT", _DEFAULT_PORT)
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
            os.environ[name]
    except KeyError as error:
        starters = {"pytorch": "tools/dist_train.sh or torchrun", "slurm": "tools/slurm_train.sh"}
        raise LaunchError(
            f"--launcher {launcher} needs the environment variable {error.args[0]}; start the tool "
            f"with {starters.get(launcher, 'mpirun and MASTER_ADDR set')}, or use --launcher none."
        ) from error


def _export_slurm_ranks() -> None:
    """Translate slurm's variables, as MMEngine does on GPUs."""
    os.environ["RANK"] = os.environ["SLURM_PROCID"]
    os.environ["WORLD_SIZE"] = os.environ["SLURM_NTASKS"]
    os.environ["LOCAL_RANK"] = os.environ["SLURM_LOCALID"]
    os.environ.setdefault("MASTER_PORT", choose_slurm_port())
    if "MASTER_ADDR" not in os.environ:
        hosts = subprocess.run(
            ["scontrol", "show", "hostname", os.environ["SLURM_NODELIST"]],
            capture_output=True,
            text=True,
            check=True,
        )
        os.environ["MASTER_ADDR"] = hosts.stdout.split()[0]


def choose_slurm_port() -> str:
    """Choose the port that a step's processes meet at, so that two jobs on a node do not collide.

    It follows from the numbers of job and step, and lies below the ports that systems hand out.
    """
    job, step = (_read_number(f"SLURM_{name}_ID") for name in ("JOB", "STEP"))
    return str(_FIRST_PORT + (job * 7 + step) % _PORTS)


def _read_number(name: str) -> int:
    """Read a number from the environment; 0 where there is none."""
    value = os.environ.get(name, "")
    return int(value) if value.isdigit() else 0


def wait_for_master() -> None:
    """Wait until the first process listens.

    A machine that cannot be reached is an error within a minute. One that answers, but where
    nothing listens yet, is only mentioned then: to end would cost the job where the first process
    is slow to start.

    Raises:
        LaunchError: If its machine is unknown or cannot be reached.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if os.environ["RANK"] == "0":
        return
    where = f"{socket.gethostname()} cannot reach the first process at {host}:{port}"
    advice = "set MASTER_ADDR to a name or address of the first node that the others know"
    begin, is_told = time.monotonic(), False
    while True:
        try:
            with socket.create_connection((host, port), timeout=5):
                return
        except socket.gaierror as error:
            problem, patience = f"the name is unknown: {error.strerror}", 0.0
        except ConnectionRefusedError:  # the machine is there, the process is still starting
            problem, patience = "nothing listens there", _STARTING_S
        except OSError as error:
            problem, patience = error.strerror or str(error), _UNREACHABLE_S
        waited = time.monotonic() - begin
        if waited > patience:
            raise LaunchError(f"{where} ({problem}); {advice}.")
        if waited > _TOLD_S and not is_told:
            is_told = True
            print_log(
                f"{where} yet ({problem}); it tries for {patience / 60:.0f} minutes. If "
                f"the address is wrong, {advice}.",
                "current",
                logging.WARNING,
            )
        time.sleep(0.2)


def _require_one_gpu_each(launcher: str) -> None:
    """Raise if this machine has fewer GPUs than the launcher started processes on it."""
    gpus = torch.cuda.device_count()
    processes = max(count_local_processes(), int(os.environ["LOCAL_RANK"]) + 1)
    if processes > gpus:
        raise LaunchError(
            f"--launcher {launcher} started {processes} processes on a machine where each sees "
            f"{gpus} GPU(s); start as many processes as GPUs, or set CUDA_VISIBLE_DEVICES=-1 to "
            "run on the CPU."
        )


def _start_gloo(cfg: Config) -> None:
    """Start the gloo group that the Runner will find, and say so in the config."""
    env_cfg = cfg.setdefault("env_cfg", {})
    dist_cfg = env_cfg.setdefault("dist_cfg", {})
    dist_cfg["backend"] = "gloo"
    if distributed.is_initialized():
        return
    _start_group(cfg, "gloo")
    atexit.register(_stop_group)
    watch_processes()


def _start_group(cfg: Config, backend: str) -> None:
    """Start the group of processes."""
    timeout_s = ((cfg.get("env_cfg") or {}).get("dist_cfg") or {}).get("timeout")
    timeout = None if timeout_s is None else datetime.timedelta(seconds=timeout_s)
    meeting = _find_fresh_store() if _is_restarted() else {}
    distributed.init_process_group(backend, timeout=timeout, **meeting)


def _is_restarted() -> bool:
    """Return whether torchrun has started the processes again, and keeps where they meet."""
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return restarts != "0" and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _find_fresh_store() -> dict[str, Any]:
    """Find where processes of this start meet, for `init_process_group`.

    torchrun keeps the store of addresses over its restarts, and processes look for each other where
    those before them were (seen with torch 2.13 and gloo). Each start gets a prefix of its own.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = distributed.TCPStore(host, port, is_master=False)
    prefix = f"restart_{os.environ['TORCHELASTIC_RESTART_COUNT']}"
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return {
        "store": distributed.PrefixStore(prefix, store),
        "rank": rank,
        "world_size": size,
    }


def _stop_group() -> None:
    """End the group at exit, which torch otherwise warns about."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _average_buffers(cfg: Config) -> None:
    """Average batch norm statistics over the processes, so that all test the saved model."""
    hooks = list(cfg.get("custom_hooks") or [])
    if not any(hook.get("type") == "SyncBuffersHook" for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type="SyncBuffersHook")]


def _gather_in_memory(cfg: Config) -> None:
    """Let metrics gather their results by all_gather, which gloo and nccl both offer."""
    for name in ("val_evaluator", "test_evaluator"):
        metrics = cfg.get(name) or []
        for metric in [metrics] if isinstance(metrics, dict) else metrics:
            if metric.get("type") != "Evaluator":
                metric.setdefault("collect_device", "gpu")
