"""Describe a data set and find what looks wrong in it.

    python tools/analysis_tools/dataset_report.py CONFIG SAVE_DIR
    python tools/analysis_tools/dataset_report.py DATA_ROOT SAVE_DIR --channel-order bgr

Prints the report and writes dataset_report.png, images.csv and suspicious_cells.csv.
"""

import argparse
from pathlib import Path

import numpy as np
from mmengine.config import DictAction

import cellseg  # noqa: F401  (registers the project's parts)
from cellseg.datasets.cell_dataset import CellDataset
from cellseg.engine.run_config import run_tool
from cellseg.evaluation.data_report import (
    DEFAULT_TINY_PX,
    describe_data,
    format_report,
    images_to_csv,
    suspicious_to_csv,
)
from cellseg.evaluation.data_source import open_parts
from cellseg.fileio import write_atomically
from cellseg.images import read_cell_image
from cellseg.visualization.curves import save_figure
from cellseg.visualization.data_plot import draw_data_report


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Describe a data set and find what looks wrong in it."
    )
    parser.add_argument(
        "data", help="config file, or folder of <id>/image.tif with class1.tif and so on"
    )
    parser.add_argument("save_dir", help="folder for the figure and the CSV files")
    parser.add_argument(
        "--num-folds",
        type=int,
        default=None,
        help="folds to report on (default: the config's; of a folder none)",
    )
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="class names of a data folder, in file order"
    )
    parser.add_argument(
        "--channel-order",
        choices=("rgb", "bgr"),
        default="rgb",
        help="of a data folder's images (default: rgb)",
    )
    parser.add_argument(
        "--tiny-px",
        type=int,
        default=DEFAULT_TINY_PX,
        help="smaller cells are tiny (default: %(default)s px)",
    )
    parser.add_argument("--show", action="store_true", help="show the figure in a window")
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, help="override settings of the config"
    )
    return parser.parse_args()


def list_entries(datasets: list[CellDataset]) -> list[dict]:
    """List the entries of several data sets."""
    return [dataset.get_data_info(index) for dataset in datasets for index in range(len(dataset))]


def main() -> None:
    """Look, print, write and draw."""
    args = parse_args()
    datasets, parts = open_parts(
        args.data, args.num_folds, args.cfg_options, args.classes, args.channel_order
    )
    metainfo = datasets[0].metainfo
    facts = describe_data(
        list_entries(datasets),
        list(metainfo["classes"]),
        lambda info: read_cell_image(info["img_path"], info["image_format"]),
        parts,
        args.tiny_px,
    )
    folder = Path(args.save_dir)
    write_atomically(folder / "images.csv", images_to_csv(facts))
    write_atomically(folder / "suspicious_cells.csv", suspicious_to_csv(facts))
    figure = None
    if args.show:
        from matplotlib import pyplot as plt

        figure = plt.figure()
    palette = [
        tuple(int(c) for c in np.asarray(colour)) for colour in metainfo.get("palette") or ()
    ]
    figure = draw_data_report(facts, palette, figure)
    save_figure(figure, folder / "dataset_report.png")
    print(f"{format_report(facts)}\n\nWrote dataset_report.png and two CSV files to {folder}")
    if args.show:
        plt.show()


if __name__ == "__main__":
    run_tool(main)
