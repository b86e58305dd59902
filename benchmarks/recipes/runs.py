"""Train and test the rows; finished ones are kept, interrupted ones resume."""

import copy
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from frame import BASES, CONFIGS, ROOT
from mmengine.config import Config

from cellseg.engine.cell_classes import list_leaves
from cellseg.errors import CellsegError
from cellseg.fileio import write_atomically
from cellseg.model_files import find_model

from .plan import Row, TestRow, TrainRow, source_of

TOOLS = ROOT / "tools"
NUM_IMAGES = 27  # of CoNSeP to train on, train_1 to train_27

Execute = Callable[[list[str], Path, Path], None]
"""Runs a command that works in a folder and appends what it prints to a log."""


@dataclass(frozen=True)
class Training:
    """One training of a row, and where it lies.

    Attributes:
        row: What to train.
        seed: The random seed.
        fold: The fold that is held out.
        steps: Training steps.
        base: Folder of the trainings of all rows.
    """

    row: TrainRow
    seed: int
    fold: int
    steps: int
    base: Path

    @property
    def name(self) -> str:
        """Name of the folder."""
        return f"{self.row.name}_seed{self.seed}_fold{self.fold}_{self.steps}-steps"

    @property
    def folder(self) -> Path:
        """Where it trains."""
        return self.base / self.name

    @property
    def config_file(self) -> Path:
        """Its config, beside its folder: MMEngine writes its own there."""
        return self.base / "configs" / f"{self.name}.py"

    @property
    def checkpoint(self) -> Path:
        """Its last checkpoint."""
        return self.folder / f"iter_{self.steps}.pth"

    def test_folder(self, row: Row) -> Path:
        """Return the folder of a test."""
        return self.folder / f"test_{row.name}"


def name_run(row: Row, seed: int, fold: int) -> str:
    """Name a row's run, for the JSON file."""
    has_folds = len(source_of(row).folds) > 1
    return f"{row.name} seed {seed}" + (f" fold {fold}" if has_folds else "")


def choose_images(cfg: Config, training: Training) -> None:
    """Set the images to train on and to evaluate on, as the row says."""
    row, sets = training.row, list_leaves(cfg.train_dataloader.dataset)
    if row.evaluated == "test":
        for data in sets:
            data.num_folds = 0
        # All images train, so that none is left to validate.
        cfg.update({f"val_{part}": None for part in ("dataloader", "cfg", "evaluator")})
    if row.evaluated == "fold":
        own: dict[str, Any] = {"num_folds": row.num_folds, "fold": training.fold}
        if row.groups:
            own["groups_file"] = str(BASES / row.groups)
        sets[0].update(own)
        cfg.val_dataloader.dataset.update(own)
        cfg.test_dataloader = copy.deepcopy(cfg.val_dataloader)
    if row.num_images:
        order = np.random.default_rng(training.seed).permutation(NUM_IMAGES)
        sets[0].include = [f"train_{number + 1}" for number in sorted(order[: row.num_images])]


def make_config(training: Training) -> Config:
    """Make the whole config of a training, by steps.

    Args:
        training: Which one.

    Returns:
        The config: warm-up over a quarter of the steps at most, then a cosine.
    """
    row, steps = training.row, training.steps
    part = max(steps // 4, 1)
    warm_up = min(100, part)
    cfg = Config.fromfile(CONFIGS / f"{row.config}.py")
    cfg.merge_from_dict(row.options)
    choose_images(cfg, training)
    for data in list_leaves(cfg.train_dataloader.dataset):
        data.pipeline = [step for step in data.pipeline if step["type"] not in row.without]
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook["type"] not in row.without]
    if row.start:
        cfg.load_from = str(find_model(row.start))
    lr = cfg.optim_wrapper.optimizer.lr
    cfg.merge_from_dict(
        {
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


def prepare(training: Training) -> Path:
    """Write the config of a training, unless it is there.

    Raises:
        CellsegError: If the folder holds a run of another config.
    """
    config, text = training.config_file, make_config(training).pretty_text
    if config.exists() and config.read_text("utf-8") != text:
        raise CellsegError(
            f"{config} is not what the row {training.row.name} is now; remove it and "
            f"{training.folder} to train it again, or give another --work-dir."
        )
    if not config.exists():
        write_atomically(config, text)
    return config


def train(training: Training, run: Execute) -> Path:
    """Train what was prepared, from its last checkpoint if it has one.

    Args:
        training: What to train.
        run: Runs a command.

    Returns:
        The last checkpoint. Nothing runs where it exists.

    Raises:
        CellsegError: If training fails.
    """
    folder = training.folder
    if not training.checkpoint.exists():
        tool = [sys.executable, str(TOOLS / "train.py"), str(training.config_file)]
        words = ["--resume", "--cfg-options", f"randomness.seed={training.seed}"]
        run([*tool, "--work-dir", str(folder), *words], folder, folder / "log")
    return training.checkpoint


def run_test(row: Row, training: Training, checkpoint: Path, run: Execute) -> Path:
    """Test a checkpoint of a training that was prepared, as a row says.

    Args:
        row: The training row itself, or a way to test it.
        training: The training.
        checkpoint: Its last checkpoint.
        run: Runs a command.

    Returns:
        The folder with the config of the test, its scores, and its cells in results.segm.json.

    Raises:
        CellsegError: If testing fails.
    """
    out = training.test_folder(row)
    cfg = Config.fromfile(training.config_file)
    is_test = isinstance(row, TestRow)
    cfg.merge_from_dict(row.options if is_test else {})
    write_atomically(out / "config.py", cfg.pretty_text)
    tool = [sys.executable, str(TOOLS / "test.py"), str(out / "config.py"), str(checkpoint)]
    words = ["--work-dir", str(out), "--out", str(out / "results.json")]
    run([*tool, *words, *(row.flags if is_test else ())], out, out / "log")
    return out


def read_scores(folder: Path) -> dict[str, float]:
    """Read the AP of all cells and of each class from the file that a test wrote last.

    Raises:
        CellsegError: If there is none.
    """
    found = sorted(folder.glob("*/*.json"))
    scores = json.loads(found[-1].read_text("utf-8")) if found else {}
    kept = {
        key: value
        for key, value in scores.items()
        if key == "coco/bbox_mAP_50"
        or (key.startswith("coco/segm_") and key.endswith(("AP", "AP_50")) and value >= 0)
    }
    if not kept:
        raise CellsegError(f"{folder} holds no scores of a test; {folder / 'log'} has its output.")
    return kept
