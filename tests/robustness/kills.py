"""Commands that are killed at random moments, and what must hold afterwards."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tifffile
from PIL import Image

from cellseg.engine import load_checkpoint_file

ROOT = Path(__file__).resolve().parents[2]
MARK = "CELLSEG_TEST_RUN"
LONGEST_S = 1200
GONE_AFTER_S = 60
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
TRAINING = (
    *("train_dataloader.batch_size=2", "train_dataloader.num_workers=2"),
    *("val_dataloader.num_workers=1", "default_hooks.checkpoint.interval=1"),
    *("train_cfg.max_epochs=12", "train_cfg.val_interval=4"),
)


@dataclass(frozen=True)
class Command:
    """A command that writes files.

    Attributes:
        name: What it is called here.
        words: Its words behind `cellseg`.
        out: Folder that it writes to.
        again: Further words with which it goes on after a kill.
        awaited: Pattern of files in `out`; half of the kills come after it has written one.
    """

    name: str
    words: tuple[str, ...]
    out: str
    again: tuple[str, ...] = ()
    awaited: str = ""


COMMANDS = (
    Command(
        "train",
        ("train", "mask-rcnn_r18_small-anchor_demo", "--work-dir", "trained", "--cfg-options")
        + TRAINING,
        "trained",
        ("--resume",),
        "epoch_*.pth",
    ),
    Command(
        "cross-validate",
        ("cross-validate", "mask-rcnn_r18_small-anchor_demo", "--num-folds", "2")
        + ("--work-dir", "folds", "--cfg-options", *TRAINING, "train_cfg.max_epochs=3"),
        "folds",
        awaited="fold?/epoch_*.pth",
    ),
    Command(
        "predict",
        ("predict", "data/sample/train", "--model", "nuclei-cc0", "--out", "predicted")
        + ("--format", "labels", "geojson", "csv", "coco", "overlay"),
        "predicted",
    ),
    Command(
        "convert", ("convert", "coco", "coco.json", "data/sample/train", "converted"), "converted"
    ),
)


def make_environment(**further: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "1",
        **further,
    }


def run(folder: Path, *words: str) -> str:
    """Run a command to its end; returns what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "cellseg", *words],
        cwd=folder, env=make_environment(), capture_output=True, text=True, timeout=LONGEST_S,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-2000:]
    return said


def make_inputs(folder: Path) -> None:
    """Draw a small data set, and write it as COCO, too."""
    words = ["--train", "6", "--val", "1", "--size", "128", "--cells", "8"]
    run(folder, "draw-sample-data", "data/sample", *words)
    run(folder, "convert", "to-coco", "data/sample/train", "coco.json")


def list_processes(mark: str) -> list[int]:
    """List the processes that have inherited an environment variable of this value."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def kill_once(folder: Path, command: Command, number: int, source: random.Random) -> str:
    """Start a command, kill it at a random moment, and look at what is left.

    Args:
        folder: Where it is run; what earlier kills left there stays.
        command: The command.
        number: Chooses the signal.
        source: Chooses the moment.

    Returns:
        When and how it was killed, and how long its last process stayed.
    """
    mark, chosen = uuid.uuid4().hex, SIGNALS[number % len(SIGNALS)]
    words = command.words + (command.again if (folder / command.out).exists() else ())
    log = folder / f"{command.name}-{number}.log"
    seconds = source.uniform(0.5, source.choice([6.0, 12.0, 25.0]))  # starting, working, writing
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "cellseg", *words],
            cwd=folder, env=make_environment(**{MARK: mark}), stdout=file, stderr=file,
        )  # fmt: skip
        try:
            if command.awaited and (number + number // len(SIGNALS)) % 2:
                wait_for_file(folder / command.out, command.awaited, process)
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(chosen)
        begin = time.monotonic()
        try:
            process.wait(GONE_AFTER_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # the fault handler writes where it hangs
            process.wait(GONE_AFTER_S)
            raise AssertionError(
                f"{command.name} goes on after {chosen.name} at {seconds:.1f} s:\n"
                + log.read_text()[-5000:]
            ) from None
    while (left := list_processes(mark)) and time.monotonic() < begin + GONE_AFTER_S:
        time.sleep(0.1)
    gone_s = time.monotonic() - begin
    assert not left, f"{command.name} after {seconds:.1f} s: processes {left} are left"
    said = log.read_text()
    assert process.returncode in (0, -chosen, 128 + chosen), said[-2000:]
    assert "Traceback" not in said, said[-2000:]
    faults = list(find_half_files(folder / command.out))
    assert not faults, f"{command.name} after {seconds:.1f} s: {faults}"
    how = "ended by itself" if process.returncode == 0 else chosen.name
    return f"{command.name}: {how} after {seconds:.1f} s, all gone after {gone_s:.1f} s"


def wait_for_file(folder: Path, pattern: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a running process has written a file that matches a pattern."""
    begin = time.time()
    while process.poll() is None and not any(
        path.stat().st_mtime > begin for path in folder.glob(pattern)
    ):
        time.sleep(0.1)


def finish(folder: Path, command: Command) -> None:
    """Run a command to its end after the kills: it goes on, and removes what they left aside."""
    again = command.again if (folder / command.out).exists() else ()
    run(folder, *command.words, *again)
    assert list(find_half_files(folder / command.out)) == []
    assert [path.name for path in (folder / command.out).rglob("*.part")] == []


def find_half_files(folder: Path) -> Iterator[str]:
    """Read every file that a command has written; yields those that are not whole."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            _read(path)
        except Exception as error:
            yield f"{path}: {type(error).__name__}: {error}"


def _read(path: Path) -> None:
    """Read a file whole; raise some exception where it is not."""
    suffix = path.suffix.lower()
    if suffix in (".json", ".geojson"):
        # MMEngine appends its scalars line by line; only there may the last line be cut off.
        lines = path.parent.name == "vis_data"
        for text in path.read_text().splitlines()[:-1] if lines else [path.read_text()]:
            json.loads(text)
    elif suffix == ".pth":
        load_checkpoint_file(path)
    elif suffix in (".tif", ".tiff"):
        tifffile.imread(path)
    elif suffix in (".png", ".jpg"):
        Image.open(path).load()
    elif suffix == ".csv" and not path.read_text().endswith("\n"):
        raise ValueError("its last line is cut off")
