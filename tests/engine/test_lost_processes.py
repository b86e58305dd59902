"""A process whose partner is killed ends in a sentence, also where it waits for it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cellseg.engine import lost_processes
from cellseg.engine.lost_processes import name_lost_process
from cellseg.errors import LostProcessError

ROOT = Path(__file__).resolve().parents[2]
WORKER = """
import sys, time
from torch import distributed
from cellseg.engine import lost_processes
lost_processes._POLL_S, lost_processes._GRACE_S = 0.2, 0.5
distributed.init_process_group("gloo")
lost_processes.watch_processes()
print("ready", flush=True)
time.sleep(float(sys.argv[1]))
"""


def start(rank: int, port: int, seconds: float) -> subprocess.Popen:
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(seconds)],
        env={**os.environ, **place, "RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="of Linux only")
@pytest.mark.parametrize("is_killed", [True, False])
def test_process_when_its_partner_is_gone_then_it_ends_unless_that_ended_well(
    is_killed: bool,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    waiting = start(0, port, 600 if is_killed else 20)
    partner = start(1, port, 600 if is_killed else 5)
    try:
        for process in (waiting, partner):
            assert process.stdout is not None
            while process.stdout.readline() not in ("ready\n", ""):
                pass
        if is_killed:
            partner.send_signal(signal.SIGKILL)
        _, said = waiting.communicate(timeout=300)
    finally:
        for process in (waiting, partner):
            process.kill()
            process.communicate()
    found = waiting.returncode, lost_processes.LOST in said
    assert found == (int(is_killed), is_killed), said[-1000:]


def test_failure_when_it_is_of_a_connection_then_named(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:1: Connection reset by peer."
    with pytest.raises(RuntimeError, match="Read error"), name_lost_process():
        raise RuntimeError(text)
    monkeypatch.setattr(lost_processes.distributed, "is_initialized", lambda: True)
    with pytest.raises(LostProcessError, match="Another process of this run"), name_lost_process():
        raise RuntimeError(text)
    with pytest.raises(RuntimeError, match="shapes"), name_lost_process():
        raise RuntimeError("shapes do not fit")
