"""Evaluate a checkpoint: its scores, and what is known of its training, for the JSON file."""

import math
import subprocess
from argparse import Namespace
from pathlib import Path
from typing import Any

from frame import ROOT, stamp
from mmengine.config import Config

from cellseg.analysis.confusion import confuse_results
from cellseg.analysis.training_logs import Record, read_run
from cellseg.cli.tasks.comparison import open_comparison
from cellseg.engine.cell_classes import list_leaves
from cellseg.engine.checkpoint_loading import load_checkpoint_file
from cellseg.engine.checkpoints import find_resumable_checkpoint
from cellseg.errors import CellsegError
from cellseg.scoring.scores import score_results

from .plan import Row, TestRow
from .runs import Training, make_config, read_scores

MINIMUM_SCORES = (0.5, 0.3)
AP50 = "coco/segm_mAP_50"
Entry = dict[str, Any]


def evaluate(folder: Path) -> Entry:
    """Score the cells that a test left.

    Args:
        folder: The test's folder, with config.py and results.segm.json.

    Returns:
        `scores`: AP of all classes and of each; for each of MINIMUM_SCORES mPQ, and PQ, AJI, Dice
        and F1 at IoU 0.5 of all cells whatever their class, as means over the images. `confusion`:
        counts at the first minimum score, and `classes`.
    """
    flags = Namespace(split="test", files=None, cfg_options=None)
    given = open_comparison(folder / "config.py", folder / "results.segm.json", flags)
    figures = read_scores(folder)
    for minimum in MINIMUM_SCORES:
        scores, _ = score_results(given.results, given.classes, minimum)
        own = {"mPQ": scores.means["PQ"]} if scores.means else {}
        for name, key in (("PQ", "PQ"), ("AJI", "AJI"), ("Dice", "Dice"), ("F1", "DQ")):
            own[name] = scores.any_class.values.get(f"{key}_image_mean", math.nan)
        figures.update({f"at_{minimum:g}/{name}": value for name, value in own.items()})
    confusion = confuse_results(given.results, given.classes, MINIMUM_SCORES[0])
    return {
        "scores": {key: float(f"{value:.6g}") for key, value in figures.items()},
        "num_images": len(given.results),
        "classes": list(confusion.class_names),
        "confusion": confusion.counts.tolist(),
    }


def describe_training(checkpoint: Path) -> Entry:
    """Return steps and seed of a checkpoint, and hours and curves where its logs lie beside it."""
    meta = load_checkpoint_file(checkpoint).get("meta", {})
    entry: Entry = {"steps": meta.get("iter"), "seed": meta.get("seed", 0)}
    try:
        run = read_run(checkpoint.parent)
        minutes = run.series("loss", "minutes")[0]
    except (FileNotFoundError, ValueError):
        return entry
    return entry | {"hours": round(float(minutes[-1]) / 60, 2)} | digest_log([*run.train, *run.val])


def digest_log(records: list[Record]) -> dict[str, dict[str, float]]:
    """Return the loss and the validation AP50 of a training, by iteration."""
    curves: dict[str, dict[str, float]] = {}
    for name, key in (("loss", "loss"), ("val_segm_AP50", AP50)):
        points = {str(r["iter"]): float(f"{r[key]:.5g}") for r in records if key in r}
        if points:
            curves[name] = points
    return curves


def describe_run(row: Row, training: Training, checkpoint: Path, folder: Path) -> Entry:
    """Return all that is kept of a run that was tested.

    Args:
        row: The row.
        training: The training of it, or of the row that it tests.
        checkpoint: The last checkpoint.
        folder: The folder of the test.
    """
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude", "*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    known = describe_training(checkpoint)
    if isinstance(row, TestRow):  # it did not train
        known = {key: known[key] for key in ("seed", "steps")}
    return {
        "row": row.name,
        "fold": training.fold,
        **known,
        **stamp(),
        "commit": commit,
        **evaluate(folder),
    }


def find_training(path: Path) -> tuple[Path, Path]:
    """Find the last checkpoint of a work folder, or a given one in it, and its training's config.

    Raises:
        CellsegError: If either is missing.
    """
    folder = path if path.is_dir() else path.parent
    checkpoint = find_resumable_checkpoint(folder) if path.is_dir() else path
    configs = sorted(folder.glob("*/vis_data/config.py"))  # one for each start
    if checkpoint is None or not configs:
        raise CellsegError(
            f"{folder} must hold a checkpoint and */vis_data/config.py, as training leaves them."
        )
    return checkpoint, configs[0]


def check_training(config: Path, training: Training) -> None:
    """Check that a training from elsewhere was of a row's images, and from the same start.

    Raises:
        CellsegError: If it was not: its scores would be no result of the row.
    """
    own, other = make_config(training), Config.fromfile(config)
    wanted, found = describe_images(own), describe_images(other)
    if wanted != found:
        raise CellsegError(
            f"{config} trained on other images than the row {training.row.name}: {found}, and not "
            f"{wanted}."
        )
    starts = [Path(str(cfg.get("load_from") or "no model")).name for cfg in (own, other)]
    if starts[0] != starts[1]:
        raise CellsegError(
            f"{config} started from {starts[1]}, the row {training.row.name} from {starts[0]}."
        )


def describe_images(cfg: Config) -> list[list[object]]:
    """Say which images a config trains on: folder, folds, the one held out, names."""
    return [
        [
            *Path(str(data.data_root)).parts[-2:],
            data.get("num_folds", 0),
            data.get("fold", 0) if data.get("num_folds") else 0,
            data.get("include"),
        ]
        for data in list_leaves(cfg.train_dataloader.dataset)
    ]
