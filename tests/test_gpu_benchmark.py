"""The benchmark for GPUs runs on a CPU in its small mode, and a failing part ends no other."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gpu
import pytest
import torch
from dense.scenes import DrawnScene, draw_scene
from gpu_parts import clock, training
from gpu_parts.device_tests import read_counts
from gpu_parts.report import Report, Settings
from gpu_parts.round_trips import find_round_trips
from timing import PartClock
from torch import nn

from cellseg.models.box_index import BoxIndex

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def make_settings(out: Path, seconds: float = 600.0) -> Settings:
    """Make settings for small parts on a CPU."""
    return Settings(
        out=out,
        device="cpu",
        small=True,
        deadline=time.monotonic() + seconds,
        scratch=out / "scratch",
        train=("config.py", 1.0, ()),
    )


def read_rows(out: Path, part: str) -> list[dict[str, Any]]:
    """Read the rows of a part."""
    return json.loads((out / "gpu.json").read_text())["parts"][part]["rows"]


def test_report_when_a_work_fails_then_the_next_one_still_runs(tmp_path, capsys):
    report = Report(make_settings(tmp_path), "ops")

    def fail() -> dict[str, Any]:
        raise RuntimeError("no such kernel")

    report.attempt("first", fail)
    report.attempt("second", lambda: {"ms": 1.23456789})
    first, second = read_rows(tmp_path, "ops")
    assert first == {"name": "first", "failure": "RuntimeError: no such kernel"}
    assert second == {"name": "second", "ms": 1.235}
    assert "ops: second: ms=1.235" in capsys.readouterr().out


def test_report_when_time_is_up_then_starts_no_more_and_says_so(tmp_path):
    report = Report(make_settings(tmp_path, seconds=0), "ops")
    report.attempt("late", lambda: pytest.fail("was started"))
    assert read_rows(tmp_path, "ops") == [{"name": "late", "left_out": "no time left"}]


def test_report_when_a_part_runs_again_then_its_rows_are_renewed_and_others_kept(tmp_path):
    settings = make_settings(tmp_path)
    Report(settings, "ops").add("old", ms=1)
    Report(settings, "steps").add("step", ms=2)
    Report(settings, "ops").add("new", ms=3)
    assert [row["name"] for row in read_rows(tmp_path, "ops")] == ["new"]
    assert [row["name"] for row in read_rows(tmp_path, "steps")] == ["step"]


def test_command_when_a_part_hangs_or_fails_then_says_so_and_ends_its_children(tmp_path):
    child = tmp_path / "child"
    hang = f"import pathlib, time; time.sleep(2); pathlib.Path({str(child)!r}).touch()"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hang!r}])"
    assert gpu.run_apart([sys.executable, "-c", script], 0.5) == "stopped after 0 s"
    assert gpu.run_apart([sys.executable, "-c", "raise SystemExit(3)"], 30) == (
        "ended with exit status 3"
    )
    assert gpu.run_apart([sys.executable, "-c", ""], 30) == ""
    time.sleep(2)
    assert not child.exists()


def test_main_when_one_part_fails_then_the_others_run_and_the_status_tells(
    tmp_path, monkeypatch, capsys
):
    ran = []

    def run_apart(command: list[str], seconds: float) -> str:
        ran.append(command[command.index("--one") + 1])
        return "ended with exit status 1" if ran[-1] == "ops" else ""

    monkeypatch.setattr(gpu, "run_apart", run_apart)
    arguments = ["gpu.py", "--parts", "ops", "steps", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert gpu.main() == 1
    assert ran == ["ops", "steps"]
    assert capsys.readouterr().out == "ops: ended with exit status 1\nsteps: done\n"


def test_busy_when_kernels_overlap_then_each_moment_counts_once():
    trace = [
        {"cat": "kernel", "name": "conv", "ts": 0.0, "dur": 1000.0},
        {"cat": "kernel", "name": "conv", "ts": 500.0, "dur": 1000.0},
        {"cat": "gpu_memcpy", "name": "Memcpy DtoH", "ts": 3000.0, "dur": 500.0},
        {"cat": "gpu_user_annotation", "name": "step", "ts": 0.0, "dur": 9000.0},
        {"cat": "cpu_op", "name": "aten::conv2d", "ts": 0.0, "dur": 9000.0},
        {"cat": "cuda_runtime", "name": "cudaStreamSynchronize", "ts": 1.0, "dur": 1.0},
        {"ph": "M", "name": "process_name"},
    ]
    assert clock.busy_ms(trace) == 2.0
    assert clock.count_syncs(trace) == 1
    assert clock.top_kernels(trace, 1) == {"conv": 2.0}


def test_part_clock_when_parts_are_nested_then_each_counts_for_itself():
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.ReLU()

        def forward(self, value: torch.Tensor) -> torch.Tensor:
            return self.inner(value)

    outer = Outer()
    parts = PartClock("cpu")
    parts.watch(outer, "forward", "outer")
    parts.watch(outer.inner, "forward", "inner")
    spent = parts.run(lambda: outer(torch.zeros(1)), "rest")
    assert set(spent) == {"outer", "inner", "rest"}
    assert min(spent.values()) >= 0
    parts.release()
    assert "forward" not in vars(outer)


def test_round_trips_when_the_host_reads_values_then_names_the_lines():
    values = torch.arange(4)

    def work() -> None:
        values.sum().item()
        values[values > 1]
        values + 1
        values[1]

    found = find_round_trips(work, "cpu")
    assert [place.split(" ")[1] for place in found] == ["Tensor.item", "Tensor.__getitem__"]
    assert all("test_gpu_benchmark.py:" in place for place in found)
    assert list(found.values()) == [1, 1]


def test_box_index_when_built_and_asked_then_the_host_waits_five_times():
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [5.0, 5.0, 60.0, 9.0]])

    def work() -> None:
        list(BoxIndex(boxes).find_pairs(boxes))

    found = find_round_trips(work, "cpu")
    assert sum(found.values()) == 5, found


def test_weights_when_kept_then_the_pieces_join_to_a_half_as_large_checkpoint(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "PIECE_BYTES", 1000)
    monkeypatch.setattr(training, "MOST_PIECES", 9)
    weights = {"weight": torch.randn(1000), "steps": torch.tensor(7)}
    torch.save({"state_dict": weights, "meta": {}}, tmp_path / "epoch_1.pth")
    out = tmp_path / "out"
    out.mkdir()
    row = training.keep_weights(tmp_path / "epoch_1.pth", out)
    pieces = sorted(out.iterdir())
    assert len(pieces) == row["pieces"] > 2
    joined = tmp_path / "joined.pth"
    joined.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    kept = torch.load(joined, weights_only=True)["state_dict"]
    assert torch.equal(kept["weight"], weights["weight"].half())
    assert torch.equal(kept["steps"], weights["steps"])
    monkeypatch.setattr(training, "MOST_PIECES", 2)
    assert training.keep_weights(tmp_path / "epoch_1.pth", out)["note"] == "too large to keep"
    assert not list(out.iterdir())


def test_logs_when_read_then_scores_and_counts_are_found():
    log = "x - INFO - Epoch(test) [4/4]    coco/segm_mAP: 0.3100  coco/bbox_mAP: -1.0000\n"
    assert training.read_scores(log) == {
        "coco/segm_mAP": 0.31,
        "coco/bbox_mAP": -1.0,
    }
    text = "FAILED tests/a.py::test_b - boom\n3 failed, 10 passed, 2 skipped in 2.10s\n"
    assert read_counts(text) == {
        "failed": 3,
        "passed": 10,
        "skipped": 2,
    }


def run_small(out: Path, *arguments: str) -> str:
    """Run the command in its small mode; return what it printed."""
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--small", "--out", str(out)]
    done = subprocess.run(
        [*command, "--device", "cpu", "--scratch", str(out / "scratch"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.mark.slow
def test_command_when_small_then_every_part_gives_rows_that_agree(tmp_path):
    printed = run_small(tmp_path, "--time-limit", "550")
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert set(content["parts"]) == {"ops", "tests", "steps", "predict"}
    for part, result in content["parts"].items():
        assert f"{part}: done" in printed
        assert result["rows"]
        for row in result["rows"]:
            assert "failure" not in row, row
            assert "mmdet_failure" not in row, row
            assert row.get("agree", True), row
            assert f"{part}: {row['name']}:" in printed
    steps = content["parts"]["steps"]["rows"][0]
    assert {"backbone", "neck", "RPN: targets", "backward pass", "optimizer"} <= set(
        steps["parts_ms"]
    )
    assert content["parts"]["tests"]["rows"][0]["passed"] > 0
    assert content["parts"]["predict"]["rows"][0]["cells"] > 0


@pytest.mark.slow
def test_command_when_training_then_what_is_kept_is_small_and_whole(tmp_path):
    data = tmp_path / "data"
    drawn = draw_scene(DrawnScene(8, 128, 2, data))
    run_small(
        tmp_path / "out",
        *("--parts", "train", "--minutes", "8", "--cfg-options"),
        *(f"train_dataloader.dataset.data_root={drawn}", "train_cfg.max_epochs=1"),
        *(f"val_dataloader.dataset.data_root={drawn}", "default_hooks.checkpoint.interval=1"),
        f"test_dataloader.dataset.data_root={drawn}",
    )
    rows = {row["name"]: row for row in read_rows(tmp_path / "out", "train")}
    assert not rows["train, mask-rcnn_r18_small-anchor_demo"]["stopped_by_the_limit"]
    assert "coco/segm_mAP" in rows["evaluate"]["scores"]
    assert rows["curves"]["logged_rows"] > 0
    kept = [path for path in (tmp_path / "out").iterdir() if path.is_file()]
    assert {"gpu.json", "train.log", "results.json.gz", "curves.png"} <= {p.name for p in kept}
    assert rows["weights"]["pieces"] == sum("weights" in path.name for path in kept)
    assert len(kept) <= 8
    assert all(path.stat().st_size <= 16 << 20 for path in kept)
