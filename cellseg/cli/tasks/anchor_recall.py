"""Measure how well anchors cover the cells, and propose better ones."""

import argparse

import numpy as np

from cellseg.analysis.anchor_fit import fit_anchors
from cellseg.analysis.anchor_plot import draw_anchor_recall
from cellseg.analysis.anchor_recall import (
    best_ious,
    list_cells,
    read_setting,
    summarize_groups,
)
from cellseg.analysis.curves import save_figure
from cellseg.cli.running import write_result
from cellseg.engine.configs import parse_cfg_options, read_config
from cellseg.engine.data_source import open_data
from cellseg.errors import CellsegError
from cellseg.structures.cells import Cells


def format_recall(name: str, images: list[Cells], ious: np.ndarray, class_names: list[str]) -> str:
    """Lay the figures of one config out as a table."""
    lines = [f"{name}", f"  {'':<20}{'cells':>8}{'IoU 0.5':>10}{'IoU 0.7':>10}{'mean IoU':>10}"]
    for group in summarize_groups(images, ious, class_names).values():
        for label, row in group.items():
            values = (row.recall_50, row.recall_70, row.mean_iou)
            text = "".join(f"{'-' if np.isnan(value) else f'{value:.4f}':>10}" for value in values)
            lines.append(f"  {label:<20}{row.num_boxes:>8}{text}")
    return "\n".join(lines)


def run(args: argparse.Namespace) -> None:
    """Measure, print, draw."""
    options = parse_cfg_options(args.cfg_options)
    settings = [read_setting(read_config(path, options), path.stem) for path in args.configs]
    dataset = open_data(args.data or args.configs[0], args.split, options)
    class_names = list(dataset.metainfo["classes"])
    images = list_cells(dataset.get_data_info(index) for index in range(len(dataset)))
    if not images:
        raise CellsegError(
            f"{args.data or args.configs[0]}: its {len(dataset)} images hold no cell."
        )
    if args.fit:
        proposal = fit_anchors(images, settings[0], args.num_ratios)
        settings.append(proposal.to_setting(settings[0]))
    ious = [best_ious(images, setting) for setting in settings]
    tables = [
        format_recall(s.name, images, i, class_names) for s, i in zip(settings, ious, strict=True)
    ]
    write_result(*tables, *([proposal.to_config()] if args.fit else []))
    if args.out or args.show:
        figure = None
        if args.show:
            from matplotlib import pyplot as plt

            figure = plt.figure()
        figure = draw_anchor_recall(settings, images, ious, class_names, figure)
        if args.out:
            save_figure(figure, args.out)
        if args.show:
            plt.show()
