"""Evaluate predictions of any tool, print the figures and write them as JSON."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from cellseg.cli.running import write_result
from cellseg.cli.tasks import report, test
from cellseg.cli.tasks.comparison import Comparison, open_comparison
from cellseg.cli.tasks.next_steps import describe_next, quote
from cellseg.datasets.splits import read_groups
from cellseg.engine.checkpoints import find_resumable_checkpoint
from cellseg.engine.configs import parse_cfg_options, read_config
from cellseg.engine.data_source import find_max_dets
from cellseg.errors import CellDataError, CellsegError, as_cellseg_error
from cellseg.fileio import write_atomically
from cellseg.project_files import CONFIG_NAME, is_project, show_path
from cellseg.scoring.average_precision import (
    ABSENT_MEAN,
    AveragePrecision,
    compute_average_precision,
)
from cellseg.scoring.image_table import write_image_table
from cellseg.scoring.metric import format_table
from cellseg.scoring.results import ImageResult
from cellseg.scoring.scores import Scores, format_scores, score_results


def merge_classes(result: ImageResult) -> ImageResult:
    """Make every cell of an image one of a single class."""
    truth, found = result.ground_truth, result.predictions
    return replace(
        result,
        ground_truth=truth and replace(truth, labels=np.where(truth.is_ignored, truth.labels, 0)),
        predictions=replace(found, labels=np.zeros_like(found.labels)),
    )


def list_notes(given: Comparison, merged: bool) -> list[str]:
    """Say what a reader of the figures must know."""
    notes = [f"{len(given.images)} images"]
    if given.predictions.absent:
        notes.append(f"no prediction for {len(given.predictions.absent)} of them: {given.absent}")
    if not given.predictions.has_scores:
        notes.append(
            "the predictions have no scores, each counts as 1.0: AP ranks them in file order"
        )
    if merged:
        notes.append("cells are matched whatever their class")
    return notes


def list_tissues(path: str | None, given: Comparison) -> list[str] | None:
    """Read the tissue of each image; raise CellsegError where an image has none."""
    if path is None:
        return None
    with as_cellseg_error(CellDataError):
        tissues = read_groups(path)
    missing = [image.name for image in given.images if image.name not in tissues]
    if missing:
        raise CellsegError(
            f"{path}: gives no tissue for {len(missing)} of {len(given.images)} images "
            f"({missing[0]}, ...); write one 'image,tissue' line for each."
        )
    return [tissues[image.name] for image in given.images]


def write_figures(path: str, precision: AveragePrecision, scores: Scores, notes: list[str]) -> None:
    """Write all figures as JSON; null stands for an undefined mean."""
    figures = {
        f"segm_{name}": None if value == ABSENT_MEAN else value
        for name, value in precision.means.items()
    }
    absent = [group.name for group in scores.classes if not group.num_cells]
    content = {
        "figures": {**figures, **scores.to_dict()},
        "classes_without_cells": absent,
        "notes": notes,
    }
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def run(args: argparse.Namespace) -> None:
    """Predict where predictions are not given, then read, score, print."""
    work_dir = None
    if args.predictions is None:
        work_dir, args.predictions = predict_split(args)
    given = open_comparison(args.truth, args.predictions, args)
    results, classes = given.results, given.classes
    tissues = list_tissues(args.tissues, given)
    merged = len(classes) > 1 and (args.ignore_classes or not given.predictions.has_classes)
    if merged:
        results, classes = [merge_classes(result) for result in results], ["cell"]
    max_dets = find_max_dets(args.truth, given.options)
    with as_cellseg_error():
        precision = compute_average_precision(results, classes, max_dets=max_dets)
        scores, counts = score_results(results, classes, args.score_thr, tissues)
    notes = list_notes(given, merged)
    write_result("\n".join(notes), format_table(precision), format_scores(scores))
    if args.per_image:
        names = [image.name for image in given.images]
        write_atomically(args.per_image, write_image_table(counts, names, classes))
    if args.out:
        write_figures(args.out, precision, scores, notes)
    if work_dir is not None:
        path = write_report(args, work_dir)
        owner = work_dir.parent if is_project(work_dir.parent) else work_dir
        model = quote(show_path(owner))
        write_result(
            f"Report: {show_path(path)} (the worst images, missed cells and false positives)",
            describe_next((f"cellseg predict IMAGES --model {model}", "find cells in new images")),
        )


def find_trained(args: argparse.Namespace) -> tuple[Path, Path]:
    """Find the work folder of a config and the last checkpoint in it.

    Raises:
        CellsegError: If nothing was trained with the config.
    """
    config = read_config(args.truth, parse_cfg_options(args.cfg_options))
    work_dir = Path(config.get("work_dir") or Path("work_dirs") / Path(args.truth).stem)
    checkpoint = find_resumable_checkpoint(work_dir)
    if checkpoint is None:
        is_of_project = Path(args.truth).name == CONFIG_NAME
        source = show_path(Path(args.truth).parent) if is_of_project else args.truth
        raise CellsegError(
            f"{show_path(work_dir)}: no trained model is there; run `cellseg train "
            f"{quote(source)}` first, or give predictions."
        )
    return work_dir, checkpoint


def predict_split(args: argparse.Namespace) -> tuple[Path, Path]:
    """Predict the images of a config's split with the last checkpoint of its work folder.

    Returns:
        The work folder, and the COCO results in it.

    Raises:
        CellsegError: If there is no config, or nothing was trained with it.
    """
    if Path(args.truth).suffix != ".py":
        raise CellsegError(
            f"{args.truth} is a folder of images, so predictions are needed, too; give them, or a "
            "project or config whose trained model can make them."
        )
    if args.split != "test":
        raise CellsegError(
            f"Only the test images of a config are predicted here; leave out --split {args.split}, "
            "or give predictions."
        )
    work_dir, checkpoint = find_trained(args)
    write_result(f"Predicting the {args.split} images with {show_path(checkpoint)} ...")
    results = work_dir / "results.json"
    test.run(
        argparse.Namespace(
            config=args.truth,
            checkpoint=str(checkpoint),
            work_dir=str(work_dir / "evaluation"),
            out=str(results),
            cfg_options=args.cfg_options,
            quiet=True,
            show=False,
            show_dir=None,
            tta=False,
            launcher="none",
            local_rank=0,
        )
    )
    return work_dir, results.with_suffix(".segm.json")


def write_report(args: argparse.Namespace, work_dir: Path) -> Path:
    """Write the report on predictions that were made for a config."""
    return report.write(
        argparse.Namespace(
            work_dir=work_dir,
            config=str(args.truth),
            results=str(args.predictions),
            files=None,
            logs=None,
            split=args.split,
            cfg_options=args.cfg_options,
            classes=args.classes,
            score_thr=args.score_thr,
            iou_thr=0.5,
            max_images=3,
            max_cells=24,
            out=None,
        )
    )
