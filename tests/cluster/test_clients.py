import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("distributed", reason="the extra cluster is not installed")

from cellseg.cluster import clients
from cellseg.cluster.clients import SlurmOptions, TLSFiles, connect, start_local, start_slurm
from cellseg.errors import CellsegError

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import socket
import psutil
from cellseg.cluster.clients import start_local

with open("started", "a") as file:
    file.write("x")
with start_local(1) as connection:
    connection.client.wait_for_workers(1, timeout=120)
    address = connection.client.run(lambda dask_worker: dask_worker.address)
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    heard = {c.laddr.ip for p in family for c in p.net_connections() if c.status == "LISTEN"}
    print(sorted(heard))
"""


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("local:0", "--dask local:0: give the number of workers, such as local:4"),
        ("local:x", "--dask local:x: give the number"),
        (
            "local:5000",
            r"memory of this machine .* is enough for .*give --dask local:\d+",
        ),
        ("tcp://127.0.0.1:9", "No scheduler answers at tcp://127.0.0.1:9"),
        ("tls://127.0.0.1:9", "is encrypted; give --tls-ca, --tls-cert and --tls-key"),
        ("nowhere.json", "--dask nowhere.json is neither local:N, tcp://HOST:PORT"),
    ],
)
def test_connect_when_nothing_is_there_then_one_sentence(where, message, monkeypatch) -> None:
    monkeypatch.setattr(clients, "_CONNECT_S", 2.0)
    with pytest.raises(CellsegError, match=message), connect(where):
        pass


def test_tls_when_a_file_is_missing_then_its_flag_is_named(tmp_path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    with pytest.raises(CellsegError, match="--tls-cert is missing; give the three PEM files"):
        TLSFiles(ca).make_security()
    with pytest.raises(CellsegError, match=r"--tls-ca .*none.pem is not a file"):
        TLSFiles(tmp_path / "none.pem", ca, ca).make_security()
    assert TLSFiles().make_security() is None


@pytest.mark.slow
def test_local_workers_when_a_script_has_no_main_guard_then_it_runs_once_and_hears_loopback_only(
    tmp_path,
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout.strip() == "['127.0.0.1']", done.stderr
    assert (tmp_path / "started").read_text() == "x"


@pytest.mark.slow
def test_local_worker_when_it_is_lost_with_its_nanny_then_another_takes_its_place() -> None:
    with start_local(2) as connection:
        client = connection.client
        client.wait_for_workers(2, timeout=240)
        pids = client.run(os.getpid)
        lost = next(iter(pids))
        psutil.Process(pids[lost]).parent().kill()
        until = time.monotonic() + 240
        while len(there := client.nthreads()) < 2 or lost in there:
            assert time.monotonic() < until, there
            connection.refill()
            time.sleep(1)


def test_tls_scheduler_when_certificates_are_given_then_it_answers_and_not_without(
    tmp_path, monkeypatch
) -> None:
    from distributed import LocalCluster

    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run(
        [*made, "-keyout", str(key), "-out", str(cert), "-subj", "/CN=localhost"],
        check=True,
        capture_output=True,
    )
    files = TLSFiles(cert, cert, key)
    with LocalCluster(
        n_workers=1,
        processes=False,
        threads_per_worker=1,
        host="tls://127.0.0.1",
        security=files.make_security(),
        dashboard_address=None,
    ) as cluster:
        address = cluster.scheduler_address
        assert address.startswith("tls://")
        with connect(address, files) as connection:
            assert connection.client.submit(sum, [1, 2]).result(60) == 3
        monkeypatch.setattr(clients, "_CONNECT_S", 3.0)
        with (
            pytest.raises(CellsegError, match="No scheduler answers"),
            connect(address.replace("tls://", "tcp://")),
        ):
            pass


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"gpus": 4}, r"--gpus-per-job 4: .* one GPU; give --gpus-per-job 1 --jobs 12\."),
        ({"memory": "1GB"}, r"memory of a job \(0\.9 GiB\) .* give --memory-per-job (\d+)GB\."),
        ({"memory": "much"}, "--memory-per-job much is not an amount of memory; write it as 16GB"),
    ],
)
def test_slurm_when_a_job_does_not_fit_a_worker_then_no_job_is_asked_for(flags, message) -> None:
    pytest.importorskip("dask_jobqueue", reason="the extra cluster is not installed")
    with (
        pytest.raises(CellsegError, match=message) as caught,
        start_slurm(SlurmOptions("debug", 3, **flags)),
    ):
        pass
    advised = re.search(r"per-job (\d+)GB", str(caught.value))
    if advised:
        SlurmOptions("debug", 3, memory=f"{advised[1]}GB").check(clients.estimate_need())
