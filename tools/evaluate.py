"""Judge predictions made by any tool as this project's own are judged: AP, PQ, F1, AJI, Dice.

    python tools/evaluate.py configs/cell/mask-rcnn_r101_small-anchor.py results.segm.json
    python tools/evaluate.py DATA_ROOT CELLPOSE_FOLDER --files "{image}_cp_masks.tif"

Predictions are a COCO result JSON or a folder of label TIFFs, such as tools/predict.py, Cellpose
and StarDist write. No pickle is read. In the JSON of --out a figure that does not exist, such as
the AP of small cells where there is none, is null.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from mmengine.config import DictAction

import cellseg  # noqa: F401  (registers the project's parts)
from cellseg.engine.run_config import run_tool
from cellseg.errors import as_cellseg_error
from cellseg.evaluation.average_precision import (
    ABSENT_MEAN,
    AveragePrecision,
    compute_average_precision,
)
from cellseg.evaluation.cell_metric import format_table
from cellseg.evaluation.coco_results import ImageResult
from cellseg.evaluation.data_source import SPLITS, find_max_dets, open_data
from cellseg.evaluation.image_counts import DEFAULT_SCORE_THR, count_result
from cellseg.evaluation.judgement import Judgement, format_judgement, judge
from cellseg.evaluation.prediction_files import read_predictions
from cellseg.evaluation.prediction_set import PredictionSet, join_results, list_truth
from cellseg.fileio import write_atomically


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Judge predictions made by any tool.")
    parser.add_argument(
        "truth", help="config file, or folder of <id>/image.tif with class1.tif and so on"
    )
    parser.add_argument("predictions", help="COCO result .json, or folder of label TIFFs")
    parser.add_argument(
        "--split", choices=SPLITS, default="test", help="whose data of the config (default: test)"
    )
    parser.add_argument(
        "--files",
        metavar="PATTERN",
        help="names of the label TIFFs, as '{image}/class{class}.tif' or '{image}_cp_masks.tif'",
    )
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="class names of a data folder, in file order"
    )
    parser.add_argument(
        "--ignore-classes", action="store_true", help="judge cells whatever their class"
    )
    parser.add_argument(
        "--score-thr",
        type=float,
        default=DEFAULT_SCORE_THR,
        help="predictions below count in AP only (default: %(default)s)",
    )
    parser.add_argument("--out", help="also write all figures to this .json")
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, help="override settings of the config"
    )
    return parser.parse_args()


def merge_classes(result: ImageResult) -> ImageResult:
    """Make every cell of an image one of a single class."""
    truth, found = result.ground_truth, result.predictions
    return replace(
        result,
        ground_truth=truth and replace(truth, labels=np.where(truth.ignored, truth.labels, 0)),
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
        notes.append("cells are judged whatever their class")
    return notes


def write_figures(
    path: str, precision: AveragePrecision, judgement: Judgement, notes: list[str]
) -> None:
    """Write all figures as JSON; null stands for a mean over nothing, which there is not."""
    figures = {
        f"segm_{name}": None if value == ABSENT_MEAN else value
        for name, value in precision.means.items()
    }
    absent = [group.name for group in judgement.classes if not group.num_cells]
    content = {
        "figures": {**figures, **judgement.to_dict()},
        "classes_without_cells": absent,
        "notes": notes,
    }
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def main() -> None:
    """Read, judge, print."""
    args = parse_args()
    dataset = open_data(args.truth, args.split, args.cfg_options, args.classes)
    images, classes = list_truth(dataset), list(dataset.metainfo["classes"])
    predictions = read_predictions(Path(args.predictions), images, classes, args.files)
    results = join_results(images, predictions)
    merged = len(classes) > 1 and (args.ignore_classes or not predictions.has_classes)
    if merged:
        results, classes = [merge_classes(result) for result in results], ["cell"]
    max_dets = find_max_dets(args.truth, args.cfg_options)
    with as_cellseg_error():
        precision = compute_average_precision(results, classes, max_dets=max_dets)
        counts = [count_result(result, len(classes), args.score_thr) for result in results]
        judgement = judge(counts, classes)
    notes = list_notes(predictions, len(images), merged)
    print("\n".join(notes), format_table(precision), format_judgement(judgement), sep="\n\n")
    if args.out:
        write_figures(args.out, precision, judgement, notes)


if __name__ == "__main__":
    run_tool(main)
