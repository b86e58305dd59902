"""Cores are counted on every system."""

import os
from pathlib import Path

import pytest

from cellseg.cores import count_cores


@pytest.mark.parametrize(
    ("quota", "cores"), [("150000 100000", 2), ("1000 100000", 1), ("900000 100000", 6)]
)
def test_count_cores_when_a_container_has_a_quota_then_no_more(
    monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: quota)
    assert count_cores() == cores


@pytest.mark.parametrize(("known", "cores"), [(7, 7), (None, 1)])
def test_count_cores_when_there_is_no_affinity_then_all(
    monkeypatch: pytest.MonkeyPatch, known: int | None, cores: int
) -> None:
    def is_absent(path: Path, encoding: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: known)
    monkeypatch.setattr(Path, "read_text", is_absent)
    assert count_cores() == cores
