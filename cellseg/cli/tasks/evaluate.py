"""Evaluate predictions of any tool, print the figures and write them as JSON."""

import argparse
import json
from dataclasses import replace

import numpy as np

from cellseg.cli.running import write_result
from cellseg.cli.tasks.comparison import Comparison, open_comparison
from cellseg.datasets.splits import read_groups
from cellseg.engine.data_source import find_max_dets
from cellseg.errors import CellDataError, CellsegError, as_cellseg_error
from cellseg.fileio import write_atomically
from cellseg.scoring.average_precision import (
    ABSENT_MEAN,
    AveragePrecision,
    compute_average_precision,
)
from cellseg.scoring.counts import count_scene
from cellseg.scoring.image_table import write_image_table
from cellseg.scoring.metric import format_table
from cellseg.scoring.results import ImageResult
from cellseg.scoring.scene import build_result_scene
from cellseg.scoring.scores import Scores, compute_scores, format_scores


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
    """Read, score, print."""
    given = open_comparison(args.truth, args.predictions, args)
    results, classes = given.results, given.classes
    tissues = list_tissues(args.tissues, given)
    merged = len(classes) > 1 and (args.ignore_classes or not given.predictions.has_classes)
    if merged:
        results, classes = [merge_classes(result) for result in results], ["cell"]
    max_dets = find_max_dets(args.truth, given.options)
    with as_cellseg_error():
        precision = compute_average_precision(results, classes, max_dets=max_dets)
        scenes = (build_result_scene(one, len(classes), args.score_thr) for one in results)
        counts = [count_scene(scene) for scene in scenes]
        scores = compute_scores(counts, classes, tissues=tissues)
    notes = list_notes(given, merged)
    write_result("\n".join(notes), format_table(precision), format_scores(scores))
    if args.per_image:
        names = [image.name for image in given.images]
        write_atomically(args.per_image, write_image_table(counts, names, classes))
    if args.out:
        write_figures(args.out, precision, scores, notes)
