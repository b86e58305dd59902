"""Time calls on a device, and see how busy a GPU is in one."""

import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from timing import Work, synchronize
from torch.profiler import ProfilerActivity, profile

_GPU_WORK = ("kernel", "gpu_memcpy", "gpu_memset")  # categories of a trace; others are marks


def time_calls(work: Work, device: str, repeats: int, warm_up: int = 1) -> list[float]:
    """Time calls that follow one another, without waiting for the device between them.

    Args:
        work: What is called.
        device: "cuda" or "cpu".
        repeats: Calls that are timed.
        warm_up: Calls before them.

    Returns:
        Milliseconds of each call; on a GPU, from its own clock.
    """
    for _ in range(warm_up):
        work()
    synchronize(device)
    marks = [_mark(device)]
    for _ in range(repeats):
        work()
        marks.append(_mark(device))
    synchronize(device)
    pairs = zip(marks[:-1], marks[1:], strict=True)
    if device == "cuda":
        return [before.elapsed_time(after) for before, after in pairs]
    return [1000 * (after - before) for before, after in pairs]


def _mark(device: str) -> Any:
    """Note the time: on a GPU, when it gets here."""
    if device != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def measure_calls(work: Work, device: str, repeats: int, warm_up: int = 2) -> dict[str, Any]:
    """Measure a work: median and range of its time, peak memory, and how busy the GPU is.

    Returns:
        `ms`, `ms_range`; on a GPU also `peak_gb` (what tensors took at most, 1e9 bytes),
        `reserved_gb` (what the allocator held), `busy` (0 to 1) and `syncs` (times that the
        processor waits for the GPU in a call).
    """
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    times = time_calls(work, device, repeats, warm_up)
    values: dict[str, Any] = {"ms": median(times), "ms_range": [min(times), max(times)]}
    if device == "cuda":
        values["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        values["reserved_gb"] = torch.cuda.max_memory_reserved() / 1e9
        trace = trace_call(work)
        values["busy"] = busy_ms(trace) / values["ms"]
        values["syncs"] = count_syncs(trace)
    return values


def trace_call(work: Work) -> list[dict[str, Any]]:
    """Record one call with torch's profiler; return the events of the trace."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return json.loads(path.read_text())["traceEvents"]


def busy_ms(trace: Iterable[dict[str, Any]]) -> float:
    """Add up the time in which a GPU worked; what overlaps counts once.

    Args:
        trace: Events of a Chrome trace, in microseconds.

    Returns:
        Milliseconds.
    """
    spans = sorted(
        (event["ts"], event["ts"] + event["dur"])
        for event in trace
        if event.get("cat") in _GPU_WORK and "dur" in event
    )
    busy, reached = 0.0, float("-inf")
    for begin, end in spans:
        busy += max(end - max(begin, reached), 0.0)
        reached = max(reached, end)
    return busy / 1000


def count_syncs(trace: Iterable[dict[str, Any]]) -> int:
    """Count how often the processor waits for a stream of the GPU, as for a copy to the host."""
    return sum(
        event.get("cat") == "cuda_runtime" and event.get("name") == "cudaStreamSynchronize"
        for event in trace
    )


def top_kernels(trace: Iterable[dict[str, Any]], number: int = 8) -> dict[str, float]:
    """Return the milliseconds of the kernels that take longest, by name."""
    spent: dict[str, float] = {}
    for event in trace:
        if event.get("cat") in _GPU_WORK and "dur" in event:
            name = event["name"][:80]
            spent[name] = spent.get(name, 0.0) + event["dur"] / 1000
    longest = sorted(spent.items(), key=lambda item: -item[1])[:number]
    return dict(longest)
