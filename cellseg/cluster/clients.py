"""Connect to the workers that a user names: on this machine, at an address, or as SLURM jobs."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dask
import psutil
import torch
from dask.utils import parse_bytes
from distributed import Client, Scheduler, SpecCluster
from distributed.deploy.subprocess import SubprocessWorker
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from cellseg.cluster.progress import count_of
from cellseg.cores import count_cores
from cellseg.errors import CellsegError

LOOPBACK = "127.0.0.1"
_MOST_DEATHS = 2  # a unit fails when one more worker than that has died with it
_SPARE_BYTES = 1536 << 20  # of a worker beside PyTorch: model, tiles, masks, cells
_CONNECT_S = 30.0
_MEMORY_SETTINGS = {
    # A paused worker never goes on, as what fills it is no data of Dask's that could be spilled.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
}


@dataclass(frozen=True)
class TLSFiles:
    """PEM files that encrypt a connection and prove who one is; all three or none."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def make_security(self) -> Security | None:
        """Make Dask's form of it; None without files.

        Raises:
            CellsegError: If some are missing.
        """
        files = {"--tls-ca": self.ca, "--tls-cert": self.cert, "--tls-key": self.key}
        if not any(files.values()):
            return None
        for flag, path in files.items():
            if path is None or not path.is_file():
                what = f"{flag} {path} is not a file" if path else f"{flag} is missing"
                raise CellsegError(f"{what}; give the three PEM files --tls-ca, -cert and -key.")
        pair = {"cert": str(self.cert), "key": str(self.key)}
        sides = {
            f"tls_{side}_{name}": path
            for side in ("client", "scheduler", "worker")
            for name, path in pair.items()
        }
        return Security(tls_ca_file=str(self.ca), require_encryption=True, **sides)


@dataclass(frozen=True)
class SlurmOptions:
    """The jobs to ask SLURM for.

    Attributes:
        partition: Where they run.
        jobs: How many, one worker each.
        gpus: GPUs per job; 0 or 1, as a worker uses one.
        cores: Cores per job.
        memory: Memory per job, such as "16GB".
        walltime: Time limit per job, as SLURM writes it.
    """

    partition: str
    jobs: int
    gpus: int = 0
    cores: int = 4
    memory: str = "16GB"
    walltime: str = "04:00:00"

    def check(self, need: int) -> None:
        """Check what SLURM itself cannot know.

        Args:
            need: Bytes of memory that a worker needs.

        Raises:
            CellsegError: If GPUs would be idle, or the memory is too small for a worker.
        """
        if self.gpus > 1:
            raise CellsegError(
                f"--gpus-per-job {self.gpus}: the one worker of a job uses one GPU; give "
                f"--gpus-per-job 1 --jobs {self.jobs * self.gpus}."
            )
        try:
            memory = parse_bytes(self.memory)
        except ValueError as error:
            raise CellsegError(
                f"--memory-per-job {self.memory} is not an amount of memory; write it as 16GB."
            ) from error
        if memory < need:
            raise CellsegError(
                f"The memory of a job ({_gib(memory)}) is not enough for a worker of {_gib(need)}; "
                f"give --memory-per-job {-(-need // 10**9)}GB."
            )


@dataclass(frozen=True)
class Connection:
    """An open client, and what is known of its workers.

    Attributes:
        client: The client.
        wanted: How many workers there should be; None where that is others' business.
        threads: Threads of each worker; its own number when None.
        description: One line for the user.
        refill: Asks for workers in place of lost ones.
    """

    client: Client
    wanted: int | None
    threads: int | None
    description: str
    refill: Callable[[], object] | None = None


@contextlib.contextmanager
def connect(where: str, tls: TLSFiles | None = None) -> Iterator[Connection]:
    """Connect to the workers that --dask names; ours are ended with the block.

    Args:
        where: local:N, tcp://HOST:PORT, tls://HOST:PORT, or a scheduler file.
        tls: For tls:// and for scheduler files of such schedulers.

    Raises:
        CellsegError: If nothing can be reached there.
    """
    if where.partition(":")[0] == "local":
        with start_local(_read_count(where)) as connection:
            yield connection
        return
    security = (tls or TLSFiles()).make_security()
    is_address = where.startswith(("tcp://", "tls://"))
    if where.startswith("tls://") and security is None:
        raise CellsegError(f"{where} is encrypted; give --tls-ca, --tls-cert and --tls-key.")
    if not is_address and not Path(where).is_file():
        raise CellsegError(
            f"--dask {where} is neither local:N, tcp://HOST:PORT, tls://HOST:PORT nor the file of "
            "a scheduler; start one with `dask scheduler --scheduler-file FILE`."
        )
    target: dict[str, Any] = {"address": where} if is_address else {"scheduler_file": where}
    try:
        client = Client(**target, security=security, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise CellsegError(
            f"No scheduler answers at {where} ({_shorten(error)}); check the address, and that "
            "the scheduler runs."
        ) from error
    with _closing(client):
        yield Connection(client, None, None, f"Scheduler at {where}")


@contextlib.contextmanager
def start_local(workers: int) -> Iterator[Connection]:
    """Start workers on this machine that listen on the loopback interface only.

    They are processes of their own that never import the program's main module, so that a script
    without a main guard does not start itself again.

    Args:
        workers: How many.

    Raises:
        CellsegError: If the machine's memory is too small for them.
    """
    need = estimate_need()
    carried = max(1, int(MEMORY_LIMIT // need))
    if workers > carried:
        raise CellsegError(
            f"The memory of this machine ({_gib(MEMORY_LIMIT)}) is enough for "
            f"{count_of(carried, 'worker')} of {_gib(need)}; give --dask local:{carried}."
        )
    threads = max(1, count_cores() // workers)
    limit = int(MEMORY_LIMIT // workers)
    scheduler = {
        "cls": Scheduler,
        "options": {
            "host": LOOPBACK,
            "port": 0,
            "dashboard_address": f"{LOOPBACK}:0",
            "allowed_failures": _MOST_DEATHS,
        },
    }
    with dask.config.set(_MEMORY_SETTINGS), _export_settings():
        cluster = SpecCluster(
            workers=dict(_describe_worker(number, limit) for number in range(workers)),
            scheduler=scheduler,
            name="cellseg",
            silence_logs=logging.ERROR,
        )
    with _closing(cluster), _closing(Client(cluster, set_as_default=False)) as client:
        description = (
            f"{count_of(workers, 'worker')} on this machine, with {count_of(threads, 'thread')} "
            f"and {_gib(limit)} each (its memory is enough for {carried})"
        )
        refill = partial(cluster.scale, workers)
        yield Connection(client, workers, threads, description, refill)


@contextlib.contextmanager
def start_slurm(options: SlurmOptions, tls: TLSFiles | None = None) -> Iterator[Connection]:
    """Ask SLURM for jobs, one worker each; they are cancelled with the block.

    A job that ends early is asked for again. Everything else that a site needs (network interface,
    account, log folder) is read from Dask's own configuration, section jobqueue.slurm.

    Args:
        options: The jobs.
        tls: To encrypt; the files must be readable on the nodes.

    Raises:
        CellsegError: If they do not fit a worker, or SLURM does not take them; its own words are
            part of the text.
    """
    options.check(estimate_need())
    from dask_jobqueue import SLURMCluster

    directives = list(dask.config.get("jobqueue.slurm.job-extra-directives", None) or [])
    if options.gpus:
        directives.append(f"--gres=gpu:{options.gpus}")
    security = (tls or TLSFiles()).make_security()
    with dask.config.set(
        {**_MEMORY_SETTINGS, "distributed.scheduler.allowed-failures": _MOST_DEATHS}
    ):
        try:
            cluster = SLURMCluster(
                queue=options.partition,
                cores=options.cores,
                processes=1,
                memory=options.memory,
                walltime=options.walltime,
                job_extra_directives=directives,
                security=security,
                protocol="tls://" if security else None,
                silence_logs=logging.ERROR,
            )
        except Exception as error:
            raise _explain_slurm(options, error) from error
    with _closing(cluster), _closing(Client(cluster, set_as_default=False)) as client:
        _ask_slurm(options, cluster.job_script())
        cluster.scale(jobs=options.jobs)
        jobs = count_of(options.jobs, "SLURM job")
        description = f"{jobs} in the partition {options.partition}"
        refill = partial(cluster.scale, jobs=options.jobs)
        yield Connection(client, options.jobs, options.cores, description, refill)


def _ask_slurm(options: SlurmOptions, script: str) -> None:
    """Ask SLURM whether it would take a job; Dask itself only logs that it does not.

    Raises:
        CellsegError: If it would not.
    """
    try:
        command = ["sbatch", "--test-only"]
        done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _explain_slurm(options, error) from error
    if done.returncode:
        raise _explain_slurm(options, RuntimeError(done.stderr))


def _explain_slurm(options: SlurmOptions, error: Exception) -> CellsegError:
    """Put SLURM's own message and what to change into one sentence."""
    if isinstance(error, FileNotFoundError):
        return CellsegError("sbatch was not found; run this on a machine where SLURM is installed.")
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line.startswith(("sbatch:", "slurm", "munge"))]
    said = " ".join(dict.fromkeys(told)) or _shorten(error)
    return CellsegError(
        f"SLURM took no jobs for --slurm {options.partition} ({said}); `sinfo` lists the "
        "partitions and what their nodes have."
    )


def estimate_need() -> int:
    """Estimate the memory of a worker in bytes: this process, which holds the model, and a unit."""
    return psutil.Process().memory_info().rss + _SPARE_BYTES


def _describe_worker(number: int, memory_limit: int) -> tuple[str, dict[str, Any]]:
    """Describe one of the workers 0, 1, ... to Dask's SpecCluster, which replaces a lost one.

    Args:
        number: Which one.
        memory_limit: Bytes.

    Returns:
        Its name, by which the cluster knows it, too, and how to start it.
    """
    gpus, name = torch.cuda.device_count(), f"worker-{number}"
    return name, {
        "cls": SubprocessWorker,
        "options": {
            "worker_class": "distributed.Nanny",
            "worker_kwargs": {
                "host": LOOPBACK,
                "name": name,
                "nthreads": 1,  # units one after another; torch has threads of its own
                "memory_limit": memory_limit,
                "silence_logs": logging.ERROR,
                "env": _make_environment(number % gpus if gpus else None),
            },
        },
    }


def _make_environment(gpu: int | None) -> dict[str, str]:
    """Make the variables of a local worker."""
    return {} if gpu is None else {"CUDA_VISIBLE_DEVICES": str(gpu)}


@contextlib.contextmanager
def _export_settings() -> Iterator[None]:
    """Give the memory settings to the worker processes, which read them from the environment."""
    names = {
        f"DASK_{key.upper().replace('-', '_').replace('.', '__')}": str(value)
        for key, value in _MEMORY_SETTINGS.items()
    }
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _closing(part: Any) -> Iterator[Any]:
    """Close a client or cluster at the end of a block, whatever state it is in."""
    for name in list(logging.root.manager.loggerDict):  # Dask gives levels to loggers of its parts
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what users need is said here
    try:
        yield part
    finally:
        with contextlib.suppress(Exception):
            part.close(timeout=20)


def _read_count(where: str) -> int:
    """Read N of local:N; the number of cores where it is left out."""
    text = where.partition(":")[2] or str(count_cores())
    if not text.isdigit() or int(text) < 1:
        raise CellsegError(f"--dask {where}: give the number of workers, such as local:4.")
    return int(text)


def _shorten(error: Exception) -> str:
    """Return the first line of an error."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _gib(size: float) -> str:
    """Write a number of bytes."""
    return f"{size / (1 << 30):.1f} GiB"
