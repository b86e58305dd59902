"""Show which class each cell was taken for, with cells missed and invented.

    python tools/analysis_tools/confusion_matrix.py CONFIG results.segm.json SAVE_DIR

Writes confusion_matrix.png, confusion_counts.csv and confusion_shares.csv. RESULTS is the COCO
result JSON of tools/test.py --out, or a folder of label TIFFs; no pickle is read.
"""

import argparse
from pathlib import Path

from mmengine.config import DictAction

import cellseg  # noqa: F401  (registers the project's parts)
from cellseg.engine.run_config import run_tool
from cellseg.errors import CellsegError, as_cellseg_error
from cellseg.evaluation.confusion import confuse_results
from cellseg.evaluation.data_source import SPLITS, open_data
from cellseg.evaluation.image_counts import DEFAULT_SCORE_THR
from cellseg.evaluation.prediction_files import read_predictions
from cellseg.evaluation.prediction_set import join_results, list_truth
from cellseg.fileio import write_atomically
from cellseg.visualization.confusion_plot import draw_confusion
from cellseg.visualization.curves import save_figure


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Show which class each cell was taken for.")
    parser.add_argument(
        "config", help="config file, or folder of <id>/image.tif with class1.tif and so on"
    )
    parser.add_argument("results", help="COCO result .json, or folder of label TIFFs")
    parser.add_argument("save_dir", help="folder for the PNG and the CSV files")
    parser.add_argument(
        "--split", choices=SPLITS, default="test", help="whose data of the config (default: test)"
    )
    parser.add_argument(
        "--files",
        metavar="PATTERN",
        help="names of the label TIFFs, as '{image}/class{class}.tif' or '{image}_cp_masks.tif'",
    )
    parser.add_argument(
        "--score-thr",
        type=float,
        default=DEFAULT_SCORE_THR,
        help="least confidence (default: %(default)s)",
    )
    parser.add_argument(
        "--iou-thr",
        type=float,
        default=0.5,
        help="cells match above this mask IoU (default: %(default)s)",
    )
    parser.add_argument("--show", action="store_true", help="show the figure in a window")
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, help="override settings of the config"
    )
    args = parser.parse_args()
    if not 0 <= args.iou_thr < 1:
        raise CellsegError(f"--iou-thr must be at least 0 and below 1, not {args.iou_thr}.")
    return args


def main() -> None:
    """Read, count, write and show."""
    args = parse_args()
    dataset = open_data(args.config, args.split, args.cfg_options)
    images, classes = list_truth(dataset), dataset.metainfo["classes"]
    predictions = read_predictions(args.results, images, classes, args.files)
    if not predictions.has_classes and len(classes) > 1:
        raise CellsegError(
            f"{args.results}: the predictions have no classes, so there is nothing to confuse."
        )
    with as_cellseg_error():
        confusion = confuse_results(
            join_results(images, predictions), classes, args.score_thr, args.iou_thr
        )
    folder = Path(args.save_dir)
    write_atomically(folder / "confusion_counts.csv", confusion.to_csv())
    write_atomically(folder / "confusion_shares.csv", confusion.to_csv(normalise=True))
    figure = None
    if args.show:
        from matplotlib import pyplot as plt

        figure = plt.figure()
    figure = draw_confusion(confusion, figure)
    save_figure(figure, folder / "confusion_matrix.png")
    print(f"{confusion.to_csv()}\nWrote confusion_matrix.png and two CSV files to {folder}")
    if args.show:
        plt.show()


if __name__ == "__main__":
    run_tool(main)
