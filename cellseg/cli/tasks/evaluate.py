"""Evaluate predictions of any tool, print the figures and write them as JSON."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from cellseg.cli.running import write_result
from cellseg.engine.configs import parse_cfg_options
from cellseg.engine.data_source import find_max_dets, open_data
from cellseg.errors import as_cellseg_error
from cellseg.fileio import write_atomically
from cellseg.formats.prediction_files import read_predictions
from cellseg.formats.prediction_set import PredictionSet, join_results, list_truth
from cellseg.scoring.average_precision import (
    ABSENT_MEAN,
    AveragePrecision,
    compute_average_precision,
)
from cellseg.scoring.counts import count_scene
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


def list_notes(predictions: PredictionSet, num_images: int, merged: bool) -> list[str]:
    """Say what a reader of the figures must know."""
    notes = [f"{num_images} images"]
    if predictions.absent:
        some = ", ".join(predictions.absent[:5]) + (", ..." if len(predictions.absent) > 5 else "")
        notes.append(f"no prediction for {len(predictions.absent)} of them: {some}")
    if not predictions.has_scores:
        notes.append(
            "the predictions have no scores, each counts as 1.0: AP ranks them in file order"
        )
    if merged:
        notes.append("cells are matched whatever their class")
    return notes


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
    options = parse_cfg_options(args.cfg_options)
    dataset = open_data(args.truth, args.split, options, args.classes)
    images, classes = list_truth(dataset), list(dataset.metainfo["classes"])
    predictions = read_predictions(Path(args.predictions), images, classes, args.files)
    results = join_results(images, predictions)
    merged = len(classes) > 1 and (args.ignore_classes or not predictions.has_classes)
    if merged:
        results, classes = [merge_classes(result) for result in results], ["cell"]
    max_dets = find_max_dets(args.truth, options)
    with as_cellseg_error():
        precision = compute_average_precision(results, classes, max_dets=max_dets)
        scenes = [build_result_scene(one, len(classes), args.score_thr) for one in results]
        scores = compute_scores([count_scene(scene) for scene in scenes], classes)
    notes = list_notes(predictions, len(images), merged)
    write_result("\n".join(notes), format_table(precision), format_scores(scores))
    if args.out:
        write_figures(args.out, precision, scores, notes)
