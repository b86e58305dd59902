"""Train and test the rows one by one; what is done is kept, what was cut off goes on."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from cellseg.errors import CellsegError
from cellseg.fileio import write_atomically

from .plan import CONFIG, TestRow, TrainRow

ROOT = Path(__file__).resolve().parents[2]
SCORES = ("coco/segm_mAP_50", "coco/segm_mAP", "coco/bbox_mAP_50")

Execute = Callable[[list[str], Path], None]


@dataclass(frozen=True)
class Place:
    """Where the runs of one budget lie, and what they read.

    Attributes:
        folder: Folder of all runs of this number of iterations.
        data_root: Folder with train/ and val/.
        iterations: Steps of each training.
        config: The config that the rows change.
    """

    folder: Path
    data_root: Path
    iterations: int
    config: Path = ROOT / CONFIG

    def run(self, row: str, seed: int) -> Path:
        """Return the folder of one training."""
        return self.folder / f"{row}_seed{seed}"

    def config_file(self, row: str, seed: int) -> Path:
        """Return the config of one training, beside its folder: MMEngine writes its own there."""
        return self.folder / "configs" / f"{row}_seed{seed}.py"

    def score_file(self, row: str, of: str, seed: int) -> Path:
        """Return the file that says that a row is done, with its scores."""
        return self.run(of, seed) / f"{row}.json"


def execute(command: list[str], log: Path) -> None:
    """Run a command in the repository's root and keep what it prints.

    Raises:
        CellsegError: If it fails.
    """
    with log.open("a") as file:
        done = subprocess.run(command, cwd=ROOT, stdout=file, stderr=file, check=False)
    if done.returncode:
        raise CellsegError(f"{' '.join(command[1:3])} failed; {log} has its output.")


def make_config(row: TrainRow, place: Place) -> Config:
    """Make the whole config of a training row; the data lie in data/dsb2018.

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
            # The last checkpoint counts, not the best one.
            "default_hooks.checkpoint": dict(by_epoch=False, interval=part, save_best=None),
            "default_hooks.visualization.draw": False,
        }
    )
    return cfg


def train(row: TrainRow, seed: int, place: Place, run: Execute = execute) -> Path:
    """Train a row with one seed, going on from its last checkpoint if it has one.

    Args:
        row: What to train.
        seed: Random seed.
        place: Where, on what, how long.
        run: Runs a command; another one in tests.

    Returns:
        The last checkpoint. Nothing runs where it exists.

    Raises:
        CellsegError: If training fails, or the folder holds a run of another config.
    """
    folder = place.run(row.name, seed)
    checkpoint = folder / f"iter_{place.iterations}.pth"
    folder.mkdir(parents=True, exist_ok=True)
    config, text = place.config_file(row.name, seed), make_config(row, place).pretty_text
    if config.exists() and config.read_text() != text:
        raise CellsegError(
            f"{config} is not what the row {row.name} is now; remove it and {folder} to train it "
            "again, or give another --work-dir."
        )
    if not config.exists():
        write_atomically(config, text)
    if checkpoint.exists():
        return checkpoint
    begin = time.monotonic()
    tool = [sys.executable, "tools/train.py", str(config), "--work-dir", str(folder), "--resume"]
    run([*tool, "--cfg-options", f"randomness.seed={seed}", *_data_options(place)], folder / "log")
    seconds = folder / "seconds.json"
    before = json.loads(seconds.read_text()) if seconds.exists() else []
    write_atomically(seconds, json.dumps([*before, round(time.monotonic() - begin)]))
    return checkpoint


def judge(
    row: TrainRow | TestRow, of: str, seed: int, place: Place, run: Execute = execute
) -> dict[str, float]:
    """Test the last checkpoint of a training as a row says.

    Args:
        row: A training row itself, or a way to test one.
        of: Name of the training row.
        seed: Its seed.
        place: Where, on what.
        run: Runs a command; another one in tests.

    Returns:
        The scores SCORES, from the row's score file where it exists.

    Raises:
        CellsegError: If testing fails.
    """
    path, folder = place.score_file(row.name, of, seed), place.run(of, seed)
    if not path.exists():
        out = folder / f"test_{row.name}"
        out.mkdir(exist_ok=True)
        options: dict[str, Any] = row.options if isinstance(row, TestRow) else {}
        config = Config.fromfile(place.config_file(of, seed))
        config.merge_from_dict(options)
        write_atomically(out / "config.py", config.pretty_text)
        checkpoint = folder / f"iter_{place.iterations}.pth"
        flags = row.flags if isinstance(row, TestRow) else ()
        tool = [sys.executable, "tools/test.py", str(out / "config.py"), str(checkpoint)]
        tool += ["--work-dir", str(out), *flags, "--cfg-options", *_data_options(place)]
        run(tool, out / "log")
        write_atomically(path, json.dumps(read_scores(out), indent=2))
    return {key: float(value) for key, value in json.loads(path.read_text()).items()}


def read_scores(folder: Path) -> dict[str, float]:
    """Read SCORES from the file that a test wrote last.

    Raises:
        CellsegError: If there is none, or it lacks a score.
    """
    found = sorted(folder.glob("*/*.json"))
    scores = json.loads(found[-1].read_text()) if found else {}
    if not set(SCORES) <= set(scores):
        raise CellsegError(f"{folder} holds no scores of a test; {folder / 'log'} has its output.")
    return {key: scores[key] for key in SCORES}


def _data_options(place: Place) -> list[str]:
    """Name the data in words that both tools take."""
    splits = {"train": "train", "val": "val", "test": "val"}
    return [
        f"{loader}_dataloader.dataset.data_root={place.data_root / split}"
        for loader, split in splits.items()
    ]
