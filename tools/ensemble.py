"""Merge the COCO result files of several models, folds or runs into one.

    python tools/ensemble.py CONFIG fold0.segm.json fold1.segm.json --out ensemble.segm.json
    python tools/evaluate.py CONFIG ensemble.segm.json

CONFIG (or a data folder) says which images there are; tools/test.py --out writes such files.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.config import DictAction

import cellseg  # noqa: F401  (registers the project's parts)
from cellseg.engine.run_config import run_tool
from cellseg.errors import CellsegError
from cellseg.evaluation.coco_results import Predictions
from cellseg.evaluation.data_source import SPLITS, open_data
from cellseg.evaluation.prediction_files import read_coco_results
from cellseg.evaluation.prediction_set import PredictionSet, TruthImage, list_truth
from cellseg.fileio import write_atomically
from cellseg.inference.cells import Cells
from cellseg.inference.merging import merge_views
from cellseg.inference.writers.coco_json import cells_to_coco_results


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Merge COCO result files of several models.")
    parser.add_argument("truth", help="config file, or folder of <id>/image.tif")
    parser.add_argument("results", nargs="+", help="COCO result .json files with masks")
    parser.add_argument("--out", required=True, help="COCO result .json to write")
    parser.add_argument(
        "--split", choices=SPLITS, default="test", help="whose data of the config (default: test)"
    )
    parser.add_argument(
        "--method",
        choices=("wbf", "nms"),
        default="wbf",
        help="wbf averages boxes, scores and masks; nms keeps the surest cell (default: wbf)",
    )
    parser.add_argument(
        "--iou-thr", type=float, default=0.5, help="mask IoU from which two cells are one"
    )
    parser.add_argument("--weights", type=float, nargs="+", help="one weight a file (default: 1)")
    parser.add_argument("--max-per-img", type=int, default=1000, help="cells kept in an image")
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, help="override settings of the config"
    )
    args = parser.parse_args()
    if args.weights and (len(args.weights) != len(args.results) or min(args.weights) <= 0):
        raise CellsegError(f"--weights needs {len(args.results)} positive numbers, one a file.")
    if not 0 < args.iou_thr <= 1 or args.max_per_img < 1:
        raise CellsegError("--iou-thr must be above 0 and at most 1, --max-per-img at least 1.")
    return args


def as_cells(found: Predictions | None, image: TruthImage, class_names: Sequence[str]) -> Cells:
    """Hold one file's predictions of an image as cells; masks without a pixel are left out."""
    if found is None:
        return Cells.empty(image.height, image.width, class_names)
    cells = Cells(
        found.boxes_xyxy,
        found.scores,
        found.labels,
        list(found.rles or []),
        image.height,
        image.width,
        tuple(class_names),
    )
    return cells[cells.measure()[1] > 0]


def merge_files(
    images: Sequence[TruthImage],
    files: Sequence[PredictionSet],
    class_names: Sequence[str],
    args: argparse.Namespace,
) -> list[dict]:
    """Merge the files image by image into COCO result rows."""
    rows = []
    for image in images:
        views = [as_cells(file.by_image.get(image.img_id), image, class_names) for file in files]
        merged = merge_views(views, args.method, args.iou_thr, args.weights)
        kept = merged[np.arange(min(len(merged), args.max_per_img))]
        rows += cells_to_coco_results(kept, image.img_id)
    return rows


def main() -> None:
    """Read, merge, write."""
    args = parse_args()
    dataset = open_data(args.truth, args.split, args.cfg_options)
    class_names = list(dataset.metainfo["classes"])
    images = list_truth(dataset)
    files = [read_coco_results(Path(path), images, class_names) for path in args.results]
    rows = merge_files(images, files, class_names, args)
    path = write_atomically(args.out, json.dumps(rows, separators=(",", ":")))
    print(f"{path}: {len(rows)} cells in {len(images)} images, from {len(files)} files")


if __name__ == "__main__":
    run_tool(main)
