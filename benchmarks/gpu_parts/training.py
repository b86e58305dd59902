"""Train a config within a time limit, evaluate it, and keep what is small."""

import gzip
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from frame import ROOT

from cellseg.engine.checkpoint_loading import load_checkpoint_file

from .report import Report, Row, Settings

PIECE_BYTES = 15 << 20
MOST_PIECES = 3
_KEPT_BYTES = 8 << 20  # of the log, from its end
_EVALUATION_SHARE = 0.2  # of the time, kept for the evaluation
_SMALL_EVALUATION_SHARE = 0.5  # most of which goes into starting the process
_SMALL_OPTIONS = (  # no process but the one that trains, no validation, and a curve nevertheless
    *(f"{split}_dataloader.num_workers=0" for split in ("train", "val", "test")),
    *(f"{split}_dataloader.persistent_workers=False" for split in ("train", "val", "test")),
    "train_cfg.val_begin=1000",
    "default_hooks.logger.interval=1",
)
_STOPPING_S = 20.0


def run(settings: Settings, report: Report) -> None:
    """Train, keep the weights and curves, then evaluate the last checkpoint and keep its masks."""
    config, minutes, options = settings.train
    seconds = min(60 * minutes, settings.seconds_left())
    deadline = time.monotonic() + seconds
    work_dir = settings.scratch / "train"
    shutil.rmtree(work_dir, ignore_errors=True)
    flags = ["--work-dir", str(work_dir)]
    options = (*settings.pick(_SMALL_OPTIONS, ()), *options)
    if options:
        flags += ["--cfg-options", *options]
    amp = ["--amp"] if settings.device == "cuda" and not settings.small else []
    log = settings.out / "train.log"
    training_s = seconds * (1 - settings.pick(_SMALL_EVALUATION_SHARE, _EVALUATION_SHARE))
    report.attempt(
        f"train, {Path(config).stem}",
        lambda: train([config, *flags, *amp], log, training_s, work_dir),
    )
    report.attempt("weights", lambda: keep_weights(find_checkpoint(work_dir), settings.out))
    report.attempt("curves", lambda: keep_curves(settings, work_dir))
    report.attempt(
        "evaluate",
        lambda: evaluate(config, flags, log, deadline - time.monotonic(), settings, work_dir),
    )
    shorten(log)


def train(arguments: list[str], log: Path, seconds: float, work_dir: Path) -> Row:
    """Run tools/train.py until it ends or time is up; what it saved until then counts.

    Returns:
        Seconds, whether time was up, and the last epoch and losses that it logged.
    """
    begin = time.monotonic()
    status = run_tool("train.py", arguments, log, seconds)
    if not find_checkpoint(work_dir, required=False):
        raise RuntimeError(
            f"Training left no checkpoint (exit status {status}); its log is train.log. Give it "
            "more --minutes, or save more often with default_hooks.checkpoint.interval=1."
        )
    lines = re.findall(r"Epoch\(train\).*", log.read_text(errors="replace"))
    return {
        "seconds": time.monotonic() - begin,
        "stopped_by_the_limit": status is None,
        "last_logged": lines[-1][:300] if lines else "",
    }


def run_tool(tool: str, arguments: list[str], log: Path, seconds: float) -> int | None:
    """Run one of tools/ and append what it prints to a log.

    Returns:
        Its exit status, or None where it was stopped because time was up.
    """
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tools" / tool), *arguments],
            cwd=ROOT,
            env=environment,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
        try:
            return process.wait(timeout=max(seconds, 1))
        except subprocess.TimeoutExpired:
            process.terminate()
        try:
            process.wait(timeout=_STOPPING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return None


def find_checkpoint(work_dir: Path, required: bool = True) -> Path:
    """Return the checkpoint that was saved last; an empty path if there is none.

    Raises:
        FileNotFoundError: If there is none, and it is required.
    """
    saved = sorted(work_dir.glob("*.pth"), key=lambda path: path.stat().st_mtime)
    saved = [path for path in saved if not path.name.startswith("best_")] or saved
    if not saved and required:
        raise FileNotFoundError("Training saved no checkpoint.")
    return saved[-1] if saved else Path()


def evaluate(
    config: str, flags: list[str], log: Path, seconds: float, settings: Settings, work_dir: Path
) -> Row:
    """Run tools/test.py on the last checkpoint and keep its masks.

    Returns:
        Seconds, and the scores that it printed last.
    """
    begin = time.monotonic()
    results = work_dir / "results.json"
    checkpoint = find_checkpoint(work_dir)
    status = run_tool(
        "test.py", [config, str(checkpoint), "--out", str(results), *flags], log, seconds
    )
    if status != 0:
        raise RuntimeError(f"tools/test.py ended with {status}; its log is train.log.")
    masks = next(iter(sorted(work_dir.glob("results*segm*.json"))), None)
    row: Row = {"seconds": time.monotonic() - begin, "scores": read_scores(log.read_text())}
    if masks is not None:
        packed = settings.out / "results.json.gz"
        packed.write_bytes(gzip.compress(masks.read_bytes(), 6))
        row["results_bytes"] = packed.stat().st_size
    return row


def read_scores(text: str) -> dict[str, float]:
    """Read the scores of MMEngine's last line about a test, such as "coco/segm_mAP: 0.3100"."""
    lines = re.findall(r"Epoch\(test\).*", text)
    found = re.findall(r"(\S+/\S+): (-?[\d.]+)", lines[-1]) if lines else []
    return {name: float(value) for name, value in found}


def keep_curves(settings: Settings, work_dir: Path) -> Row:
    """Draw the curves of losses and scores, and keep the numbers behind them."""
    curves = settings.out / "curves.png"
    tool = "analysis_tools/analyze_logs.py"
    arguments = ["plot_curve", str(work_dir), "--out", str(curves)]
    status = run_tool(tool, arguments, settings.out / "train.log", settings.seconds_left())
    scalars = sorted(work_dir.glob("*/vis_data/scalars.json"))
    if scalars:
        shutil.copy(scalars[-1], settings.out / "scalars.json")
    return {"exit_status": status, "logged_rows": count_lines(scalars)}


def count_lines(paths: list[Path]) -> int:
    """Count the lines of some files."""
    return sum(len(path.read_text().splitlines()) for path in paths)


def keep_weights(checkpoint: Path, out: Path) -> Row:
    """Write a checkpoint's weights in half precision, in pieces that are small enough.

    `cat weights.pth.* > weights.pth` joins them; the result loads as a checkpoint.

    Returns:
        Bytes and pieces; a note where they would be too many, and nothing is written.
    """
    for old in out.glob("weights.pth.*"):
        old.unlink()
    whole = checkpoint.parent / "half.pth"
    torch.save({"state_dict": to_half(load_checkpoint_file(checkpoint))}, whole)
    content = whole.read_bytes()
    pieces = [content[at : at + PIECE_BYTES] for at in range(0, len(content), PIECE_BYTES)]
    row: Row = {"bytes": len(content), "pieces": len(pieces), "checkpoint": checkpoint.name}
    if len(pieces) > MOST_PIECES:
        return row | {"note": "too large to keep"}
    for number, piece in enumerate(pieces):
        (out / f"weights.pth.{number}").write_bytes(piece)
    return row


def to_half(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's weights with floating-point tensors in float16."""
    weights = checkpoint.get("state_dict", checkpoint)
    return {
        name: value.half() if torch.is_floating_point(value) else value
        for name, value in weights.items()
    }


def shorten(log: Path) -> None:
    """Keep the end of a log."""
    if log.exists() and log.stat().st_size > _KEPT_BYTES:
        log.write_bytes(log.read_bytes()[-_KEPT_BYTES:])
