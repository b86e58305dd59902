"""Train and test every fold of a config, and print mean and spread for each class.

    python tools/cross_validate.py configs/cell/mask-rcnn_r101_small-anchor.py
    python tools/cross_validate.py CONFIG --num-folds 3 --cfg-options train_cfg.max_epochs=30

The images in the training data's folder are split. A fold that is done is read, one that was cut
off goes on; its last checkpoint is tested.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config, DictAction

import cellseg  # noqa: F401  (registers the project's parts)
from cellseg.engine.checkpoints import find_resumable_checkpoint
from cellseg.engine.child_processes import ChildProcesses
from cellseg.engine.run_config import run_tool
from cellseg.errors import CellsegError
from cellseg.evaluation.data_source import SPLITS, dataset_config, read_config
from cellseg.fileio import write_atomically

ROOT = Path(__file__).resolve().parents[1]

Execute = Callable[[list[str], Path], None]
Scores = Mapping[str, float]


def parse_args(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; the options are kept as typed, too, to be handed on."""
    parser = argparse.ArgumentParser(description="Train and test every fold of a config.")
    parser.add_argument("config", help="config file, such as those in configs/cell/")
    parser.add_argument("--num-folds", type=int, help="default: the config's own")
    parser.add_argument("--work-dir", type=Path, help="default: work_dirs/<config>_folds")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], help="override settings of the config"
    )
    args = parser.parse_args(words)
    checker = argparse.ArgumentParser()
    checker.add_argument("--cfg-options", nargs="*", action=DictAction)
    options = checker.parse_args(["--cfg-options", *args.cfg_options]).cfg_options
    config = read_config(args.config, options)
    data = dataset_config(config, "train")
    args.classes = list(data.metainfo["classes"])
    args.num_folds = int(data.get("num_folds", 0)) if args.num_folds is None else args.num_folds
    if args.num_folds < 2:
        raise CellsegError(f"{args.config} has no folds; give --num-folds, at least 2.")
    args.settings = config.pretty_text
    args.fold_options = make_fold_options(config, args.num_folds)
    args.work_dir = args.work_dir or Path("work_dirs") / f"{Path(args.config).stem}_folds"
    return args


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
        key, loader = f"{split}_dataloader.dataset", config[f"{split}_dataloader"].dataset
        while "dataset" in loader:  # a wrapper such as RepeatDataset
            key, loader = f"{key}.dataset", loader.dataset
        root = data.data_root
        root = root if isinstance(root, str) else f"[{','.join(map(str, root))}]"
        words += [f"{key}.fold={{fold}}", f"{key}.num_folds={num_folds}", f"{key}.data_root={root}"]
    return words


def run_fold(args: argparse.Namespace, fold: int, run: Execute) -> Scores:
    """Train and test one fold, or read its scores if that is done.

    Args:
        args: As parsed.
        fold: The fold that is held out.
        run: Runs a command that works in a folder.

    Returns:
        The scores of the fold's last checkpoint.
    """
    folder = args.work_dir / f"fold{fold}"
    done, record = folder / "scores.json", folder / "plan.json"
    plan = {"folds": args.num_folds, "options": args.cfg_options, "config": args.settings}
    if record.exists() and json.loads(record.read_text("utf-8")) != plan:
        raise CellsegError(
            f"{folder} is of another config, other options or folds; give another --work-dir."
        )
    write_atomically(record, json.dumps(plan))
    if not done.exists():
        words = [word.replace("{fold}", str(fold)) for word in args.fold_options]
        tail = ["--cfg-options", *args.cfg_options, *words]
        train, test = (str(ROOT / "tools" / name) for name in ("train.py", "test.py"))
        tool = [sys.executable, train, args.config, "--work-dir", str(folder), "--resume", *tail]
        run(tool, folder)
        checkpoint = find_resumable_checkpoint(folder)
        if checkpoint is None:
            raise CellsegError(f"{folder} holds no checkpoint; set default_hooks.checkpoint.")
        out = folder / "test"
        tool = [sys.executable, test, args.config, str(checkpoint), "--work-dir", str(out), *tail]
        run(tool, out)
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
            notes.append(f"{name}: no cell to judge by in fold {', '.join(absent)}")
    return "\n".join([*lines, *notes])


def _read(scores: Scores, key: str) -> float | None:
    """Return a score, or None where there was nothing to judge: nan, or COCO's -1."""
    value = scores.get(key)
    return None if value is None or math.isnan(value) or value < 0 else value


def _describe(values: Sequence[float | None]) -> str:
    """Write mean and spread of those folds that hold the class."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    spread = f" ± {statistics.stdev(known):.3f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.3f}{spread}"


def main() -> None:
    """Run the folds and print the table."""
    args = parse_args()
    with ChildProcesses() as children:
        folds = [run_fold(args, fold, children.run) for fold in range(args.num_folds)]
    print(write_table(folds, args.classes))


if __name__ == "__main__":
    run_tool(main)
