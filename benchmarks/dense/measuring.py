"""Measure time and memory of a workload in a process of its own.

Children are forked by a server that has imported everything and computed nothing: each starts in
the same fresh state within milliseconds. A child runs the workload on a tiny scene first, so that
neither code pages nor thread pools are counted, then once for the measurement. A workload that is
repeated in one process is timed on its second run; the memory is always that of the first.
"""

import ctypes
import gc
import multiprocessing
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from timing import read_memory_gb

from .scenes import DrawnScene, draw_scene

GB = 1e9
PRELOADED = ["cellseg", "mmdet.evaluation", "mmdet.models", "mmdet.datasets.transforms"]
_CLEAR_PEAK = "5"  # for /proc/self/clear_refs: the peak becomes what is resident now
_WORDS_OF_NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "Unable to allocate")


@dataclass(frozen=True)
class Case:
    """One measurement: one of `workloads.WORKLOADS` on a scene, for one side."""

    workload: str
    side: str
    scene: DrawnScene
    memory_limit_gb: float


@dataclass(frozen=True)
class Measurement:
    """What a child measured.

    Attributes:
        seconds: Wall time, per image where the workload says so.
        peak_gb: Largest resident memory during the run, in 1e9 bytes.
        added_gb: How much of it was not there before the run.
        cpu_seconds: Processor time of all threads in that time, which reveals a busy machine.
        failure: Why there are no numbers; empty if there are.
    """

    seconds: float = 0.0
    peak_gb: float = 0.0
    added_gb: float = 0.0
    cpu_seconds: float = 0.0
    failure: str = ""


def measure(case: Case) -> Measurement:
    """Measure a case in a fresh process.

    Returns:
        The numbers, or a failure where the memory limit was reached.

    Raises:
        RuntimeError: If the workload fails for any other reason.
    """
    if case.side.endswith("-amp") and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return Measurement(failure="this CPU has no bf16 instructions")
    draw_scene(case.scene)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run_child, args=(case, sender))
    process.start()
    sender.close()
    try:
        outcome = receiver.recv()
    except EOFError:
        outcome = None
    process.join()
    if outcome is None:
        if process.exitcode == -9:
            return Measurement(failure="killed because memory ran out")
        raise RuntimeError(f"{case} ended with exit status {process.exitcode}.")
    if isinstance(outcome, str):
        raise RuntimeError(f"{case} failed:\n{outcome}")
    return outcome


def _run_child(case: Case, sender: Connection) -> None:
    """Measure in this process and send the outcome: a Measurement, or the text of an error."""
    try:
        _silence()
        _limit_memory(case.memory_limit_gb)
        sender.send(_measure_here(case))
    except (RuntimeError, MemoryError) as error:
        out_of_memory = isinstance(error, MemoryError) or any(
            words in str(error) for words in _WORDS_OF_NO_MEMORY
        )
        failure = Measurement(failure=f"fails under {case.memory_limit_gb:g} GB")
        sender.send(failure if out_of_memory else traceback.format_exc())
    except BaseException:
        sender.send(traceback.format_exc())
    sender.close()


def _measure_here(case: Case) -> Measurement:
    """Prepare, warm up and run a case."""
    from .workloads import WORKLOADS

    workload = WORKLOADS[case.workload]
    workload.prepare(tiny_scene(case.scene), case.side)()
    run = workload.prepare(case.scene, case.side)
    gc.collect()
    _give_memory_back()
    before_gb = reset_peak()
    seconds, cpu_seconds = _time(run)
    peak_gb = read_memory_gb("VmHWM")
    if workload.is_steady:
        seconds, cpu_seconds = _time(run)
    per = case.scene.images if workload.is_per_image else 1
    return Measurement(seconds / per, peak_gb, max(peak_gb - before_gb, 0.0), cpu_seconds / per)


def _time(run: Callable[[], Any]) -> tuple[float, float]:
    """Run a workload; return wall time and processor time in seconds."""
    cpu_started, started = time.process_time(), time.perf_counter()
    result = run()
    times = time.perf_counter() - started, time.process_time() - cpu_started
    del result
    return times


def tiny_scene(scene: DrawnScene) -> DrawnScene:
    """Return the scene for warming up: few cells on few pixels."""
    return replace(scene, cells=8, size_px=128)


def reset_peak() -> float:
    """Reset the peak of resident memory.

    Returns:
        What is resident now, in 1e9 bytes.
    """
    Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK, "utf-8")
    return read_memory_gb("VmRSS")


def _silence() -> None:
    """Discard what the workload prints."""
    with Path(os.devnull).open("w") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)


def _limit_memory(limit_gb: float) -> None:
    """Refuse allocations beyond a limit, and offer this process first should memory run out."""
    Path("/proc/self/oom_score_adj").write_text("1000", "utf-8")
    limit = int(limit_gb * GB)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _give_memory_back() -> None:
    """Return freed memory to the system, so that the workload cannot reuse it unseen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
