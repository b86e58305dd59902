"""Describe a data set: text, tables and a figure."""

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from cellseg.analysis.curves import save_figure
from cellseg.analysis.data_plot import draw_data_report
from cellseg.analysis.data_report import (
    DataFacts,
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


def describe(args: argparse.Namespace) -> DataFacts:
    """Describe the data set that the flags name."""
    datasets, parts = open_parts(
        args.data,
        args.num_folds,
        parse_cfg_options(args.cfg_options),
        args.classes,
        args.channel_order,
    )
    metainfo = datasets[0].metainfo
    return describe_data(
        list_entries(datasets),
        list(metainfo["classes"]),
        lambda info: read_cell_image(info["img_path"], info["image_format"]),
        parts,
        args.tiny_px,
        metainfo.get("palette"),
    )


def write(facts: DataFacts, folder: Path, figure: Figure | None = None) -> str:
    """Write tables and figure into a folder; the report as text.

    Args:
        facts: The data set.
        folder: Made if absent.
        figure: Figure to draw into, such as a window's; a new one when None.
    """
    write_atomically(folder / "images.csv", images_to_csv(facts))
    write_atomically(folder / "suspicious_cells.csv", suspicious_to_csv(facts))
    palette = choose_palette(len(facts.class_names), facts.palette)
    save_figure(draw_data_report(facts, palette, figure), folder / "dataset_report.png")
    return format_report(facts)


def run(args: argparse.Namespace) -> None:
    """Describe, print, write and draw."""
    facts = describe(args)
    figure = None
    if args.show:
        from matplotlib import pyplot as plt

        figure = plt.figure()
    folder = Path(args.save_dir)
    text = write(facts, folder, figure)
    write_result(f"{text}\n\nWrote dataset_report.png and two CSV files to {folder}")
    if args.show:
        plt.show()
