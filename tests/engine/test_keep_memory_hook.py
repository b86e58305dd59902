"""Freed memory stays with the process; in a process of its own, since it cannot be undone."""

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from cellseg.engine import keep_memory_hook
from cellseg.engine.keep_memory_hook import KeepMemoryHook, keep_freed_memory

COUNT_NEW_PAGES = """
import resource, torch
from cellseg.engine.keep_memory_hook import keep_freed_memory
if {keep}:
    print(keep_freed_memory())
count = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(25_000_000)
before = count()
for _ in range(5):
    torch.ones(25_000_000)
print(count() - before)
"""


def count_new_pages(keep: bool) -> int:
    """Count the pages that five tensors of 100 MB ask the system for, after a first one."""
    command = [sys.executable, "-c", COUNT_NEW_PAGES.format(keep=keep)]
    return int(subprocess.check_output(command, text=True).split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="no glibc")
def test_keep_freed_memory_when_tensors_come_and_go_then_no_new_pages_are_asked_for() -> None:
    assert count_new_pages(keep=True) < count_new_pages(keep=False) / 2


def test_keep_freed_memory_when_there_is_no_mallopt_then_nothing_happens(monkeypatch) -> None:
    monkeypatch.setattr(keep_memory_hook.ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory()


@pytest.mark.parametrize(("device", "calls"), [("cpu", 1), ("meta", 0)])
def test_hook_when_training_starts_then_only_a_cpu_keeps_memory(monkeypatch, device, calls) -> None:
    called: list[bool] = []
    monkeypatch.setattr(keep_memory_hook, "keep_freed_memory", lambda: called.append(True))
    runner = SimpleNamespace(model=torch.nn.Linear(2, 2, device=device))
    KeepMemoryHook().before_train(runner)
    assert len(called) == calls
