"""Count which class each cell was assigned, and write table and figure."""

import argparse
from pathlib import Path

from cellseg.analysis.confusion import confuse_results
from cellseg.analysis.confusion_plot import draw_confusion
from cellseg.analysis.curves import save_figure
from cellseg.cli.running import write_result
from cellseg.cli.tasks.comparison import open_comparison
from cellseg.errors import CellsegError, as_cellseg_error
from cellseg.fileio import write_atomically


def run(args: argparse.Namespace) -> None:
    """Read, count, write and show."""
    given = open_comparison(args.truth, args.predictions, args)
    if not given.predictions.has_classes and len(given.classes) > 1:
        raise CellsegError(
            f"{args.predictions}: the predictions have no classes, so there is nothing to confuse."
        )
    with as_cellseg_error():
        confusion = confuse_results(given.results, given.classes, args.score_thr, args.iou_thr)
    folder = Path(args.save_dir)
    write_atomically(folder / "confusion_counts.csv", confusion.to_csv())
    write_atomically(folder / "confusion_shares.csv", confusion.to_csv(normalize=True))
    figure = None
    if args.show:
        from matplotlib import pyplot as plt

        figure = plt.figure()
    figure = draw_confusion(confusion, figure)
    save_figure(figure, folder / "confusion_matrix.png")
    write_result(f"{confusion.to_csv()}\nWrote confusion_matrix.png and two CSV files to {folder}")
    if args.show:
        plt.show()
