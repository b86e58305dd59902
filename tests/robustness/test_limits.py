"""No malformed file takes more than 5 s or 1 GB: a result, or one sentence that names the file.

Read in processes apart, which are ended where a file takes far too long.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.robustness.crafted import CRAFTED
from tests.robustness.malformed import MORE_SEEDS, SEEDS, damage_all

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS, MOST_GB = 5.0, 1.0  # CPU time, which other work on the machine does not change
GIVE_UP_S = 60.0
PER_SEED = 22
Case = dict[str, Any]

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peaks of memory are read on Linux only"
)


def write_case(folder: Path, name: str, content: bytes) -> Case:
    """Write one file, in a folder of its own."""
    kind, _, file_name = name.partition("/")
    if kind == "cache":
        file_name = "crafted.npz"
    path = folder / file_name
    if kind in ("pannuke", "facts", "model"):  # their names are given
        path = folder / {"pannuke": "masks.npy", "facts": "dataset.json"}.get(kind, file_name)
        if kind == "model":
            path = path.with_stem("model")
    elif kind in ("geojson", "monusac", "predictions"):
        path = path.with_stem("a")
    folder.mkdir(parents=True)
    path.write_bytes(content)
    return {"kind": kind, "path": str(path), "name": name}


def write_damaged(folder: Path, count: int) -> Iterator[Case]:
    """Write each seed, and damaged copies of it."""
    for seed in [*SEEDS, *MORE_SEEDS]:
        for number, content in enumerate([seed[1], *damage_all(seed, count)]):
            yield write_case(folder / seed[0].replace("/", "_") / str(number), seed[0], content)


def read_lines(process: subprocess.Popen[str]) -> "queue.Queue[str]":
    """Read what a process prints, in a thread; an empty line is its end."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    return lines


def read_measured(cases: list[Case]) -> list[Case]:
    """Read files one after another; a process that hangs or dies is replaced."""
    done: list[Case] = []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    while len(done) < len(cases):
        left = cases[len(done) :]
        with subprocess.Popen(
            [sys.executable, "-m", "tests.robustness.measured_reading"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env=environment, cwd=ROOT,
        ) as process:  # fmt: skip
            lines = read_lines(process)
            assert process.stdin is not None
            process.stdin.write("".join(json.dumps(case) + "\n" for case in left))
            process.stdin.close()
            for case in left:
                try:
                    line = lines.get(timeout=GIVE_UP_S + 60 * (case is left[0]))
                except queue.Empty:
                    line = ""
                if not line:
                    wrong = f"no answer after {GIVE_UP_S:g} s, or the process died"
                    done.append({**case, "seconds": GIVE_UP_S, "peak_gb": 0, "wrong": wrong})
                    process.kill()
                    break
                done.append(json.loads(line))
    return done


def list_faults(cases: list[Case], most_seconds: float = MOST_SECONDS) -> list[str]:
    """List what went wrong, a line for each file."""
    faults = []
    for case in cases:
        said = case.get("said", "")
        fault = case["wrong"]
        if not fault and case["seconds"] > most_seconds:
            fault = f"took {case['seconds']:.1f} s"
        if not fault and case["peak_gb"] > MOST_GB:
            fault = f"took {case['peak_gb']:.2f} GB"
        # What is painted is called by its image.
        is_named = str(Path(case["path"]).parent) in said or said.startswith("a: ")
        if not fault and said and not is_named:
            fault = f"the message does not name the file: {said[:300]}"
        if not fault and len(said) > 3000:
            fault = f"the message has {len(said)} characters"
        if fault:
            faults.append(f"{case['path']} ({case['name']}): {fault}")
    return faults


@pytest.mark.slow
def test_files_when_damaged_then_neither_time_nor_memory_is_lost(tmp_path: Path) -> None:
    cases = read_measured(list(write_damaged(tmp_path, PER_SEED)))
    assert len(cases) > 500
    assert list_faults(cases) == []


@pytest.mark.slow
def test_files_when_crafted_then_neither_time_nor_memory_is_lost(tmp_path: Path) -> None:
    cases = [
        write_case(tmp_path / name.replace("/", "_"), name, make())
        for name, make in CRAFTED.items()
    ]
    assert list_faults(read_measured(cases)) == []
