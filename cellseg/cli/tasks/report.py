"""Gather what the HTML report is made from, and write it."""

import argparse
from pathlib import Path

import numpy as np

from cellseg.analysis.training_logs import TrainingRun, read_run
from cellseg.cli.running import write_result
from cellseg.cli.tasks.comparison import open_comparison
from cellseg.datasets.cell_dataset import CellDataset
from cellseg.engine.data_source import find_max_dets
from cellseg.errors import CellDataError, CellsegError, as_cellseg_error
from cellseg.fileio import write_atomically
from cellseg.images import read_cell_image
from cellseg.palette import choose_palette
from cellseg.project_files import RUN_NAME, is_project
from cellseg.report.inputs import (
    ReportInput,
    ReportOptions,
    find_config,
    find_results,
)
from cellseg.report.page import build_report


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


def name_run(work_dir: Path) -> str:
    """Name a run by its folder, that of a project by the project's."""
    folder = work_dir.resolve()
    is_own = folder.name == RUN_NAME and is_project(folder.parent)
    return folder.parent.name if is_own else folder.name


def gather(args: argparse.Namespace) -> tuple[ReportInput, ReportOptions]:
    """Find and read all that the page is made from."""
    config = find_config(args.work_dir, args.config)
    results = find_results(args.work_dir, config, args.results)
    both = open_comparison(config, results, args)
    dataset, predictions, classes = both.dataset, both.predictions, both.classes
    if not predictions.has_classes and len(classes) > 1:
        raise CellsegError(
            f"{results}: the predictions have no classes, but the data has {len(classes)}; "
            "evaluate them with `cellseg evaluate`, which can ignore classes."
        )
    notes = []
    if predictions.absent:
        notes.append(f"There is no prediction for {len(predictions.absent)} images: {both.absent}.")
    if not predictions.has_scores:
        notes.append("The predictions have no scores, each counts as 1.0: AP ranks them by file.")
    given = ReportInput(
        name_run(args.work_dir),
        classes,
        choose_palette(len(classes), dataset.metainfo.get("palette")),
        [image.name for image in both.images],
        both.results,
        lambda place: read_rgb(dataset, place),
        find_run(args.work_dir, args.logs),
        {"Config": str(config), "Predictions": str(results), "Data": f"{args.split} split"},
        notes,
    )
    max_dets = find_max_dets(config, both.options)
    return given, ReportOptions(
        args.score_thr, args.iou_thr, max_dets, args.max_images, args.max_cells
    )


def write(args: argparse.Namespace) -> Path:
    """Gather and write the page; its path."""
    given, options = gather(args)
    return write_atomically(args.out or args.work_dir / "report.html", build_report(given, options))


def run(args: argparse.Namespace) -> None:
    """Write the page, and say where it is."""
    write_result(f"Wrote {write(args)}")
