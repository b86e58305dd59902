"""Train and test every fold of a config; each part runs as a command of its own."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from cellseg.cli.running import write_result
from cellseg.defaults import SPLITS
from cellseg.engine.checkpoints import find_resumable_checkpoint
from cellseg.engine.child_processes import ChildProcesses
from cellseg.engine.configs import (
    dataset_config,
    find_dataset_key,
    parse_cfg_options,
    read_config,
)
from cellseg.errors import CellsegError
from cellseg.fileio import write_atomically
from cellseg.project_files import FOLDS_NAME, is_project

# -P keeps the working directory's files from standing in for modules, as with a script.
_COMMAND = (sys.executable, "-P", "-m", "cellseg")

Execute = Callable[[list[str], Path], None]
Scores = Mapping[str, float]


@dataclass(frozen=True)
class FoldPlan:
    """What every fold is trained and tested with.

    Attributes:
        config: The config file.
        num_folds: Number of folds.
        work_dir: Folder of the folds' own folders.
        classes: Class names.
        settings: The config as text, options included.
        cfg_options: Words of --cfg-options as typed, to be handed on.
        fold_options: Further such words; "{fold}" stands for the fold to hold out.
    """

    config: str
    num_folds: int
    work_dir: Path
    classes: list[str]
    settings: str
    cfg_options: list[str]
    fold_options: list[str]


def make_plan(args: argparse.Namespace) -> FoldPlan:
    """Settle what the flags ask for.

    Raises:
        CellsegError: If the config cannot be read or split into folds.
    """
    path = Path(args.config)
    config = read_config(path, parse_cfg_options(args.cfg_options))
    data = dataset_config(config, "train")
    num_folds = int(data.get("num_folds", 0)) if args.num_folds is None else args.num_folds
    if num_folds < 2:
        raise CellsegError(f"{args.config} has no folds; give --num-folds, at least 2.")
    return FoldPlan(
        str(path),
        num_folds,
        args.work_dir or place_folds(path),
        list(data.metainfo["classes"]),
        config.pretty_text,
        list(args.cfg_options or ()),
        make_fold_options(config, num_folds),
    )


def place_folds(config: Path) -> Path:
    """Choose the folder of the folds: in the project that a config is of, else in work_dirs."""
    if is_project(config.parent):
        return config.parent / FOLDS_NAME
    return Path("work_dirs") / f"{config.stem}_folds"


def make_fold_options(config: Config, num_folds: int) -> list[str]:
    """Write the options that split the training images, and only these, into folds.

    Args:
        config: The config; its images to validate may lie elsewhere, and are left aside then.
        num_folds: Number of folds.

    Returns:
        Words for --cfg-options; "{fold}" stands for the fold to hold out.

    Raises:
        CellsegError: If training and validation choose images in ways that do not agree.
    """
    data, words = dataset_config(config, "train"), []
    for split in SPLITS:
        own = dataset_config(config, split)
        for key in ("include", "groups_file", "test_index"):
            if own.get(key) != data.get(key):
                raise CellsegError(
                    f"{key} of the {split} images is not that of the training images, which are "
                    f"what is split into folds; give {split}_dataloader.dataset.{key} alike."
                )
        key = find_dataset_key(config, split)
        root = data.data_root
        root = root if isinstance(root, str) else f"[{','.join(map(str, root))}]"
        words += [f"{key}.fold={{fold}}", f"{key}.num_folds={num_folds}", f"{key}.data_root={root}"]
    return words


def run_fold(plan: FoldPlan, fold: int, run: Execute) -> Scores:
    """Train and test one fold, or read its scores if that is done.

    Args:
        plan: What to train and test with.
        fold: The fold that is held out.
        run: Runs a command that works in a folder.

    Returns:
        The scores of the fold's last checkpoint.
    """
    folder = plan.work_dir / f"fold{fold}"
    done, record = folder / "scores.json", folder / "plan.json"
    content = {"folds": plan.num_folds, "options": plan.cfg_options, "config": plan.settings}
    if record.exists() and json.loads(record.read_text("utf-8")) != content:
        raise CellsegError(
            f"{folder} is of another config, other options or folds; give another --work-dir."
        )
    write_atomically(record, json.dumps(content))
    if not done.exists():
        words = [word.replace("{fold}", str(fold)) for word in plan.fold_options]
        tail = ["--cfg-options", *plan.cfg_options, *words]
        run([*_COMMAND, "train", plan.config, "--work-dir", str(folder), "--resume", *tail], folder)
        checkpoint = find_resumable_checkpoint(folder)
        if checkpoint is None:
            raise CellsegError(f"{folder} holds no checkpoint; set default_hooks.checkpoint.")
        out = folder / "test"
        command = [*_COMMAND, "test", plan.config, str(checkpoint), "--work-dir", str(out), *tail]
        run(command, out)
        found = sorted(out.glob("*/*.json"))
        if not found:
            raise CellsegError(f"{out} holds no scores; look at its log.")
        write_atomically(done, found[-1].read_text("utf-8"))
    scores: Scores = json.loads(done.read_text("utf-8"))
    return scores


def write_table(folds: Sequence[Scores], classes: Sequence[str]) -> str:
    """Write mean and spread (standard deviation with n - 1) over the folds of every class.

    Args:
        folds: The scores of each fold.
        classes: Class names.

    Returns:
        The table, and a line for each class that a fold's images lack: it counts there in no mean.
    """
    rows = [("all", "mAP_50", "mAP"), *((name, f"{name}_AP_50", f"{name}_AP") for name in classes)]
    lines = [f"{'class':<16}{'folds':>6}{'segm AP50':>18}{'segm AP':>18}"]
    notes = []
    for name, *keys in rows:
        columns = [[_read(fold, f"coco/segm_{key}") for fold in folds] for key in keys]
        absent = [str(k) for k, value in enumerate(columns[0]) if value is None]
        counted = len(folds) - len(absent)
        cells = "".join(f"{_describe(column):>18}" for column in columns)
        lines.append(f"{name:<16}{counted:>6}{cells}")
        if absent:
            notes.append(f"{name}: no annotated cell in fold {', '.join(absent)}")
    return "\n".join([*lines, *notes])


def _read(scores: Scores, key: str) -> float | None:
    """Return a score, or None where nothing was annotated: nan, or COCO's -1."""
    value = scores.get(key)
    return None if value is None or math.isnan(value) or value < 0 else value


def _describe(values: Sequence[float | None]) -> str:
    """Write mean and spread of those folds that hold the class."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    spread = f" ± {statistics.stdev(known):.3f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.3f}{spread}"


def run(args: argparse.Namespace) -> None:
    """Run the folds and print the table."""
    plan = make_plan(args)
    if args.fold is not None and not 0 <= args.fold < plan.num_folds:
        raise CellsegError(f"--fold must be from 0 to {plan.num_folds - 1}, not {args.fold}.")
    with ChildProcesses() as children:
        if args.fold is not None:
            write_result(write_table([run_fold(plan, args.fold, children.run)], plan.classes))
            return
        folds = [run_fold(plan, fold, children.run) for fold in range(plan.num_folds)]
    write_result(write_table(folds, plan.classes))
