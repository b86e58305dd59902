"""Write one HTML page on how good predictions are and where they fail.

    python tools/test.py CONFIG CHECKPOINT --work-dir WORK_DIR --out WORK_DIR/results.json
    python tools/analysis_tools/report.py WORK_DIR

WORK_DIR is a folder of tools/train.py or tools/test.py: the config (which is executed, as
MMDetection does), the training log and the COCO result JSON are taken from there. The page needs no
network.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import DictAction

import cellseg  # noqa: F401  (registers the project's parts)
from cellseg.datasets.cell_dataset import CellDataset
from cellseg.engine.run_config import run_tool
from cellseg.errors import CellDataError, CellsegError, as_cellseg_error
from cellseg.evaluation.data_source import SPLITS, find_max_dets, open_data
from cellseg.evaluation.image_counts import DEFAULT_SCORE_THR
from cellseg.evaluation.prediction_files import read_predictions
from cellseg.evaluation.prediction_set import join_results, list_truth
from cellseg.fileio import write_atomically
from cellseg.images import read_cell_image
from cellseg.visualization.report import build_report
from cellseg.visualization.report_inputs import (
    ReportInput,
    ReportOptions,
    find_config,
    find_results,
)
from cellseg.visualization.training_logs import TrainingRun, read_run


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Write one HTML page on how good predictions are and where they fail."
    )
    parser.add_argument("work_dir", type=Path, help="folder of tools/train.py or tools/test.py")
    parser.add_argument("--out", type=Path, help="the page (default: WORK_DIR/report.html)")
    parser.add_argument("--config", help="config (default: the one in WORK_DIR)")
    parser.add_argument(
        "--results",
        help="COCO result .json or folder of label TIFFs (default: newest *.segm.json in WORK_DIR)",
    )
    parser.add_argument(
        "--files",
        metavar="PATTERN",
        help="names of the label TIFFs, as '{image}/class{class}.tif' or '{image}_cp_masks.tif'",
    )
    parser.add_argument(
        "--logs", type=Path, help="work dir of the training (default: WORK_DIR, if it has a log)"
    )
    parser.add_argument(
        "--split", choices=SPLITS, default="test", help="whose data of the config (default: test)"
    )
    parser.add_argument(
        "--score-thr",
        type=float,
        default=DEFAULT_SCORE_THR,
        help="predictions below count in AP only (default: %(default)s)",
    )
    parser.add_argument(
        "--iou-thr",
        type=float,
        default=0.5,
        help="cells match above this mask IoU (default: %(default)s)",
    )
    parser.add_argument(
        "--max-images", type=int, default=3, help="best and worst images (default: %(default)s)"
    )
    parser.add_argument(
        "--max-cells", type=int, default=24, help="cells in each gallery (default: %(default)s)"
    )
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, help="override settings of the config"
    )
    args = parser.parse_args()
    if not 0 <= args.iou_thr < 1:
        raise CellsegError(f"--iou-thr must be at least 0 and below 1, not {args.iou_thr}.")
    if args.max_images < 0 or args.max_cells < 0:
        raise CellsegError("--max-images and --max-cells must not be negative.")
    return args


def find_run(work_dir: Path, logs: Path | None) -> TrainingRun | None:
    """Read the training log; a folder of a test has none."""
    try:
        return read_run(logs or work_dir)
    except (FileNotFoundError, ValueError) as error:
        if logs is not None:
            raise CellsegError(str(error)) from error
        return None


def read_rgb(dataset: CellDataset, place: int) -> np.ndarray:
    """Read the image of a result as RGB."""
    info = dataset.get_data_info(place)
    with as_cellseg_error(CellDataError):
        image = read_cell_image(info["img_path"], info["image_format"])
    return np.ascontiguousarray(image[..., ::-1])


def gather(args: argparse.Namespace) -> tuple[ReportInput, ReportOptions]:
    """Find and read all that the page is made from."""
    config = find_config(args.work_dir, args.config)
    results = find_results(args.work_dir, config, args.results)
    options: dict[str, Any] | None = args.cfg_options
    dataset = open_data(config, args.split, options)
    images, classes = list_truth(dataset), list(dataset.metainfo["classes"])
    predictions = read_predictions(results, images, classes, args.files)
    if not predictions.has_classes and len(classes) > 1:
        raise CellsegError(
            f"{results}: the predictions have no classes, but the data has {len(classes)}; judge "
            "them with tools/evaluate.py, which leaves classes out."
        )
    notes = []
    if predictions.absent:
        some = ", ".join(predictions.absent[:5]) + (", ..." if len(predictions.absent) > 5 else "")
        notes.append(f"There is no prediction for {len(predictions.absent)} images: {some}.")
    if not predictions.has_scores:
        notes.append("The predictions have no scores, each counts as 1.0: AP ranks them by file.")
    palette = dataset.metainfo.get("palette") or ()
    given = ReportInput(
        args.work_dir.resolve().name,
        classes,
        [tuple(int(c) for c in np.asarray(colour)[:3]) for colour in palette],
        [image.name for image in images],
        join_results(images, predictions),
        lambda place: read_rgb(dataset, place),
        find_run(args.work_dir, args.logs),
        {"Config": str(config), "Predictions": str(results), "Data": f"{args.split} split"},
        notes,
    )
    max_dets = find_max_dets(config, options)
    return given, ReportOptions(
        args.score_thr, args.iou_thr, max_dets, args.max_images, args.max_cells
    )


def main() -> None:
    """Gather, write, and say where the page is."""
    args = parse_args()
    given, options = gather(args)
    path = write_atomically(args.out or args.work_dir / "report.html", build_report(given, options))
    print(f"Wrote {path} from {given.sources['Predictions']}")


if __name__ == "__main__":
    run_tool(main)
