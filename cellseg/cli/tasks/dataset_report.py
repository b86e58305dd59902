"""Describe a data set: text, tables and a figure."""

import argparse
from pathlib import Path

from cellseg.analysis.curves import save_figure
from cellseg.analysis.data_plot import draw_data_report
from cellseg.analysis.data_report import (
    describe_data,
    format_report,
    images_to_csv,
    suspicious_to_csv,
)
from cellseg.cli.running import write_result
from cellseg.datasets.cell_dataset import CellDataset
from cellseg.engine.configs import parse_cfg_options
from cellseg.engine.data_source import open_parts
from cellseg.fileio import write_atomically
from cellseg.images import read_cell_image
from cellseg.palette import choose_palette


def list_entries(datasets: list[CellDataset]) -> list[dict]:
    """List the entries of several data sets."""
    return [dataset.get_data_info(index) for dataset in datasets for index in range(len(dataset))]


def run(args: argparse.Namespace) -> None:
    """Describe, print, write and draw."""
    datasets, parts = open_parts(
        args.data,
        args.num_folds,
        parse_cfg_options(args.cfg_options),
        args.classes,
        args.channel_order,
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
    palette = choose_palette(len(metainfo["classes"]), metainfo.get("palette"))
    figure = draw_data_report(facts, palette, figure)
    save_figure(figure, folder / "dataset_report.png")
    write_result(
        f"{format_report(facts)}\n\nWrote dataset_report.png and two CSV files to {folder}"
    )
    if args.show:
        plt.show()
