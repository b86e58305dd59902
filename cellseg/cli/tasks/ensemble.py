"""Merge COCO result files image by image."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cellseg.cli.running import write_result
from cellseg.engine.configs import parse_cfg_options
from cellseg.engine.data_source import open_data
from cellseg.fileio import write_atomically
from cellseg.formats.coco_results import cells_to_coco_results, read_coco_results
from cellseg.formats.prediction_set import PredictionSet, TruthImage, list_truth
from cellseg.inference.merging import merge_views
from cellseg.structures.cells import Cells


def take_cells(file: PredictionSet, image: TruthImage, class_names: Sequence[str]) -> Cells:
    """Take one file's predictions of an image, without masks that have no pixel."""
    found = file.by_image.get(image.img_id)
    if found is None:
        return Cells.empty(image.height, image.width, class_names)
    found = found[found.areas > 0]
    return replace(found, scores=found.confidences.astype(np.float32))


def merge_files(
    images: Sequence[TruthImage],
    files: Sequence[PredictionSet],
    class_names: Sequence[str],
    args: argparse.Namespace,
) -> list[dict]:
    """Merge the files image by image into COCO result rows."""
    rows = []
    for image in images:
        views = [take_cells(file, image, class_names) for file in files]
        merged = merge_views(views, args.method, args.iou_thr, args.weights)
        kept = merged[np.arange(min(len(merged), args.max_per_img))]
        rows += cells_to_coco_results(kept, image.img_id)
    return rows


def run(args: argparse.Namespace) -> None:
    """Read, merge, write."""
    dataset = open_data(args.truth, args.split, parse_cfg_options(args.cfg_options))
    class_names = list(dataset.metainfo["classes"])
    images = list_truth(dataset)
    files = [read_coco_results(Path(path), images, class_names) for path in args.results]
    rows = merge_files(images, files, class_names, args)
    path = write_atomically(args.out, json.dumps(rows, separators=(",", ":")))
    write_result(f"{path}: {len(rows)} cells in {len(images)} images, from {len(files)} files")
