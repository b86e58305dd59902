"""The page of benchmarks/cohort.py says what was measured, and a wrong output is noticed."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed", reason="the extra cluster is not installed")

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
STAMP = {"date": "2026-01-02", "machine": "a machine", "setting": "at night"}


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "")  # the parts add to it
    monkeypatch.syspath_prepend(BENCHMARKS)


def make_raw(busy: float = 0.97, workers: float = 100.0, is_alike: bool = True) -> dict[str, Any]:
    memory = {"mb_at_most": 3.0, "mb_after": 2.0, "seconds": 5.0}
    return {
        "memory 10000": {"images": 10_000, **memory, **STAMP},
        "memory 1000": {"images": 1000, **memory, **STAMP},
        "waiting 8": {"workers": 8, "units": 20, "unit_s": 1.0, "busy": busy, **STAMP},
        "cohort": {
            "small": 2000,
            "large_px": 20_000,
            "workers": workers,
            "processes": 150.0,
            "half_of_sum": 100.0,
            **STAMP,
        },
        "kills": {
            "small": 60,
            "large_px": 3000,
            "worker": 36,
            "client": 4,
            "job": 10,
            "runs": 2,
            "is_alike": is_alike,
            **STAMP,
        },
    }


def test_page_when_all_was_measured_then_each_part_has_its_numbers(tmp_path: Path) -> None:
    from cohort_parts.report import write_report

    text = write_report(make_raw(), tmp_path / "cohort.md")
    assert "2026-01-02: a machine. at night." in text
    assert "| 8 | 97.0% | yes |" in text
    assert text.index("| 1,000 | 3 | 2 | 3.00 | 5.0 |") < text.index("| 10,000 | 3 | 2 | 0.30 |")
    assert "| 100 | 150 | 100 | 1.00 | yes |" in text
    assert "| 36 | 4 | 10 | 2 | yes |" in text


def test_page_when_a_part_was_not_run_then_it_is_left_out(tmp_path: Path) -> None:
    from cohort_parts.report import write_report

    text = write_report({"kills": {**make_raw()["kills"], "job": None}}, tmp_path / "cohort.md")
    assert "not run" in text
    assert "Memory" not in text


@pytest.mark.parametrize("missed", [{"busy": 0.94}, {"workers": 106.0}, {"is_alike": False}])
def test_targets_when_one_is_missed_then_the_benchmark_fails(missed: dict[str, Any]) -> None:
    from cohort_parts.report import are_targets_met

    assert are_targets_met(make_raw())
    assert not are_targets_met(make_raw(**missed))


def test_outputs_when_a_byte_differs_or_a_file_is_missing_then_they_are_not_alike(
    tmp_path: Path,
) -> None:
    from cohort_parts.kills import compare_outputs

    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "a.cells.csv").write_text("1")
        (folder / "cohort.csv").write_text(folder.name)
    assert compare_outputs(first, second)
    (second / "a.cells.csv").write_text("2")
    assert not compare_outputs(first, second)
    (second / "a.cells.csv").unlink()
    assert not compare_outputs(first, second)


def test_job_when_one_is_cancelled_then_only_own_ones_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cohort_parts.kills import cancel_job
    from cohort_parts.predicting import JOB_NAME

    for name, answer in (("squeue", "7"), ("scancel", "")):
        script = tmp_path / name
        script.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/{name}.txt"\necho {answer}\n'
        )
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert cancel_job("gpu", None, random.Random(0))
    asked = (tmp_path / "squeue.txt").read_text().split()
    assert {f"--user={os.getuid()}", "--partition=gpu", f"--name={JOB_NAME}"} <= set(asked)
    assert (tmp_path / "scancel.txt").read_text() == "7\n"
