"""Train and test the rows; finished ones are kept, interrupted ones resume."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from cellseg.cores import count_cores
from cellseg.errors import CellsegError
from cellseg.fileio import write_atomically

from .plan import CONFIG, TestRow, TrainRow

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
SCORES = ("coco/segm_mAP_50", "coco/segm_mAP", "coco/bbox_mAP_50")

Execute = Callable[[list[str], Path, Path], None]
"""Runs a command that works in a folder and appends what it prints to a log."""


@dataclass(frozen=True)
class Place:
    """Where the runs of one budget lie, and what they read.

    Attributes:
        folder: Folder of all runs of this number of iterations.
        data_root: Folder with train/ and val/.
        iterations: Steps of each training.
        config: The config that the rows change.
        threads: Threads of each training; None for all cores.
    """

    folder: Path
    data_root: Path
    iterations: int
    config: Path = ROOT / CONFIG
    threads: int | None = None

    def run(self, row: str, seed: int) -> Path:
        """Return the folder of one training."""
        return self.folder / f"{row}_seed{seed}"

    def config_file(self, row: str, seed: int) -> Path:
        """Return the config of one training, beside its folder: MMEngine writes its own there."""
        return self.folder / "configs" / f"{row}_seed{seed}.py"

    def score_file(self, row: str, of: str, seed: int) -> Path:
        """Return the file that marks a row as done, with its scores."""
        return self.run(of, seed) / f"{row}.json"

    def test_folder(self, row: str, of: str, seed: int) -> Path:
        """Return the folder of one test."""
        return self.run(of, seed) / f"test_{row}"


def make_config(row: TrainRow, place: Place) -> Config:
    """Make the whole config of a training row, for data in data/dsb2018.

    Args:
        row: The row.
        place: Number of iterations, and the config to change.

    Returns:
        The config, by iterations: warm-up over a quarter of them at most, then a cosine.
    """
    cfg = Config.fromfile(place.config)
    steps, part = place.iterations, max(place.iterations // 4, 1)
    warm_up = min(100, part)
    pipeline = cfg.train_dataloader.dataset.pipeline
    lr = cfg.optim_wrapper.optimizer.lr
    cfg.merge_from_dict(
        {
            **row.options,
            "train_dataloader.dataset.pipeline": [
                step for step in pipeline if step["type"] not in row.without
            ],
            "train_cfg": dict(
                _delete_=True, type="IterBasedTrainLoop", max_iters=steps, val_interval=part
            ),
            "param_scheduler": [
                dict(type="LinearLR", start_factor=0.02, by_epoch=False, begin=0, end=warm_up),
                dict(type="CosineAnnealingLR", by_epoch=False, T_max=steps, eta_min=lr / 100),
            ],
            "log_processor.by_epoch": False,
            # The last checkpoint counts, not the best one; one is enough to resume from.
            "default_hooks.checkpoint": dict(
                by_epoch=False, interval=part, save_best=None, max_keep_ckpts=1
            ),
            "default_hooks.visualization.draw": False,
        }
    )
    return cfg


def prepare(row: TrainRow, seed: int, place: Place) -> Path:
    """Write the config of one training, unless it is there.

    Raises:
        CellsegError: If the folder holds a run of another config.
    """
    config, text = place.config_file(row.name, seed), make_config(row, place).pretty_text
    if config.exists() and config.read_text("utf-8") != text:
        raise CellsegError(
            f"{config} is not what the row {row.name} is now; remove it and "
            f"{place.run(row.name, seed)} to train it again, or give another --work-dir."
        )
    if not config.exists():
        write_atomically(config, text)
    return config


def make_test_config(row: TrainRow | TestRow, of: str, seed: int, place: Place) -> Config:
    """Make the whole config of a test from that of the training, which was prepared."""
    config = Config.fromfile(place.config_file(of, seed))
    config.merge_from_dict(row.options if isinstance(row, TestRow) else {})
    return config


def prepare_test(row: TrainRow | TestRow, of: str, seed: int, place: Place) -> Path:
    """Write the config of one test."""
    path = place.test_folder(row.name, of, seed) / "config.py"
    return write_atomically(path, make_test_config(row, of, seed, place).pretty_text)


def train(row: TrainRow, seed: int, place: Place, run: Execute) -> Path:
    """Train a row that was prepared, from its last checkpoint if it has one.

    Args:
        row: What to train.
        seed: Random seed.
        place: Where, on what, how long.
        run: Runs a command.

    Returns:
        The last checkpoint. Nothing runs where it exists.

    Raises:
        CellsegError: If training fails.
    """
    folder, config = place.run(row.name, seed), place.config_file(row.name, seed)
    checkpoint = folder / f"iter_{place.iterations}.pth"
    if checkpoint.exists():
        return checkpoint
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    tool = [sys.executable, str(TOOLS / "train.py"), str(config), "--work-dir", str(folder)]
    words = ["--resume", "--cfg-options", f"randomness.seed={seed}", *_data_options(place)]
    try:
        run([*tool, *words], folder, folder / "log")
    finally:
        seconds = round(time.monotonic() - begin)
        start = {"seconds": seconds, "threads": place.threads or count_cores()}
        if seconds or checkpoint.exists():  # not where the folder was in use
            write_atomically(folder / "starts.json", json.dumps([*read_starts(folder), start]))
    return checkpoint


def read_starts(folder: Path) -> list[dict[str, int]]:
    """Read how long each start of a training took, and on how many threads; may be empty."""
    path = folder / "starts.json"
    starts: list[dict[str, int]] = json.loads(path.read_text("utf-8")) if path.exists() else []
    return starts


def score(
    row: TrainRow | TestRow, of: str, seed: int, place: Place, run: Execute
) -> dict[str, float]:
    """Test the last checkpoint of a training as a row that was prepared says.

    Args:
        row: A training row itself, or a way to test one.
        of: Name of the training row.
        seed: Its seed.
        place: Where, on what.
        run: Runs a command.

    Returns:
        The scores SCORES, from the row's score file where it exists.

    Raises:
        CellsegError: If testing fails.
    """
    path, out = place.score_file(row.name, of, seed), place.test_folder(row.name, of, seed)
    if not path.exists():
        checkpoint = place.run(of, seed) / f"iter_{place.iterations}.pth"
        flags = row.flags if isinstance(row, TestRow) else ()
        tool = [sys.executable, str(TOOLS / "test.py"), str(out / "config.py"), str(checkpoint)]
        tool += ["--work-dir", str(out), *flags, "--cfg-options", *_data_options(place)]
        run(tool, out, out / "log")
        write_atomically(path, json.dumps(read_scores(out), indent=2))
    return {key: float(value) for key, value in json.loads(path.read_text("utf-8")).items()}


def read_scores(folder: Path) -> dict[str, float]:
    """Read SCORES from the file that a test wrote last.

    Raises:
        CellsegError: If there is none, or it lacks a score.
    """
    found = sorted(folder.glob("*/*.json"))
    scores = json.loads(found[-1].read_text("utf-8")) if found else {}
    if not set(SCORES) <= set(scores):
        raise CellsegError(f"{folder} holds no scores of a test; {folder / 'log'} has its output.")
    return {key: scores[key] for key in SCORES}


def _data_options(place: Place) -> list[str]:
    """Return the options that tell both tools where the data is."""
    splits = {"train": "train", "val": "val", "test": "val"}
    return [
        f"{loader}_dataloader.dataset.data_root={place.data_root / split}"
        for loader, split in splits.items()
    ]
