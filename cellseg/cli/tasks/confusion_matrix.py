"""Count which class each cell was taken for, and write table and figure."""

import argparse
from pathlib import Path

from cellseg.analysis.confusion import confuse_results
from cellseg.analysis.confusion_plot import draw_confusion
from cellseg.analysis.curves import save_figure
from cellseg.cli.running import write_result
from cellseg.engine.configs import parse_cfg_options
from cellseg.engine.data_source import open_data
from cellseg.errors import CellsegError, as_cellseg_error
from cellseg.fileio import write_atomically
from cellseg.formats.prediction_files import read_predictions
from cellseg.formats.prediction_set import join_results, list_truth


def run(args: argparse.Namespace) -> None:
    """Read, count, write and show."""
    dataset = open_data(args.config, args.split, parse_cfg_options(args.cfg_options))
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
    write_result(f"{confusion.to_csv()}\nWrote confusion_matrix.png and two CSV files to {folder}")
    if args.show:
        plt.show()
