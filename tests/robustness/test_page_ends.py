"""A real `cellseg web` ends with status 0 on SIGTERM, whatever is in progress."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import tifffile

pytest.importorskip("uvicorn", reason="the extra web is not installed")

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 120  # on a busy machine; the page's own timers are 5 s together, see test_server.py
COOKIE = f"cellseg={'t' * 32}"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals"),
]


@dataclass
class Page:
    """A page in a process of its own."""

    process: "subprocess.Popen[str]"
    address: str
    folder: Path

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        place = urlsplit(self.address)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=WAIT_S)
        given = {"Cookie": COOKIE, "x-cellseg": "1", **headers}
        connection.request("GET" if body is None else "POST", path, body, given)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content)

    def list_uploads(self) -> list[Path]:
        return [path for path in (self.folder / "keep" / "uploads").rglob("*") if path.is_file()]

    def end(self) -> None:
        """Send SIGTERM; the page ends with 0 and no traceback."""
        assert self.process.poll() is None
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=WAIT_S)
        assert self.process.returncode == 0, said[-2000:]
        assert "Traceback" not in said, said[-2000:]


@contextmanager
def run_page(folder: Path, *words: str) -> Iterator[Page]:
    """Start a page with a model that comes with cellseg."""
    command = [sys.executable, "-m", "cellseg", "web", *words, "--model", "nuclei-cc0"]
    process = subprocess.Popen(
        [*command, "--port", "0", "--device", "cpu", "--keep", str(folder / "keep")],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = next((line for line in process.stdout if line.startswith("Open ")), "")
        assert line, process.communicate()[1][-2000:]
        yield Page(process, line.split()[1], folder)
    finally:
        process.kill()
        process.communicate()


def test_page_when_told_to_end_during_a_prediction_then_it_ends_with_0(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4000, 4000, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", noise, photometric="rgb", tile=(256, 256))
    with run_page(tmp_path, "a.tif") as page:
        assert page.ask("/api/images/g0/predict", b'{"scale": 1.0}')[0] == 200
        until = time.monotonic() + WAIT_S
        job: dict[str, Any] = {"done": 0}
        while not job["done"]:
            assert time.monotonic() < until
            job = page.ask("/api/images/g0/job")[1]["job"]
            time.sleep(0.05)
        assert (job["state"], job["done"] < job["total"]) == ("running", True), job
        page.end()


def test_page_when_told_to_end_during_an_upload_then_it_ends_with_0_and_nothing_stays(
    tmp_path: Path,
) -> None:
    network = ("--host", "0.0.0.0", "--no-password", "--allow-host", "cells.example.org")
    with run_page(tmp_path, *network) as page:
        place = urlsplit(page.address)
        for name, status in (("evil.example", 421), ("cells.example.org", 200)):
            assert page.ask("/api/state", Host=name)[0] == status
        head = f"POST /api/images?name=a.tif HTTP/1.1\r\nHost: {place.netloc}\r\n"
        head += f"Cookie: {COOKIE}\r\nX-Cellseg: 1\r\nContent-Length: 90000000\r\n\r\n"
        with socket.create_connection((place.hostname, place.port)) as connection:
            connection.sendall(head.encode() + bytes(2_000_000))
            until = time.monotonic() + WAIT_S
            while not sum(path.stat().st_size for path in page.list_uploads()):
                assert time.monotonic() < until
                time.sleep(0.05)
            page.end()
        assert page.list_uploads() == []
