"""Measure how well anchors cover the cells, and propose better ones."""

import argparse

import numpy as np

from cellseg.cli.running import write_result
from cellseg.engine.run_config import parse_cfg_options
from cellseg.errors import CellsegError
from cellseg.evaluation.anchor_fit import fit_anchors
from cellseg.evaluation.anchor_recall import (
    CellBoxes,
    best_ious,
    collect_boxes,
    read_setting,
    summarise_groups,
)
from cellseg.evaluation.data_source import open_data, read_config
from cellseg.visualization.anchor_plot import draw_anchor_recall
from cellseg.visualization.curves import save_figure


def format_recall(name: str, boxes: CellBoxes, ious: np.ndarray, class_names: list[str]) -> str:
    """Lay the figures of one config out as a table."""
    lines = [f"{name}", f"  {'':<20}{'cells':>8}{'IoU 0.5':>10}{'IoU 0.7':>10}{'mean IoU':>10}"]
    for group in summarise_groups(boxes, ious, class_names).values():
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
    boxes = collect_boxes(dataset.get_data_info(index) for index in range(len(dataset)))
    if not len(boxes.labels):
        raise CellsegError(
            f"{args.data or args.configs[0]}: its {len(dataset)} images hold no cell."
        )
    if args.fit:
        proposal = fit_anchors(boxes, settings[0], args.num_ratios)
        settings.append(proposal.to_setting(settings[0]))
    ious = [best_ious(boxes, setting) for setting in settings]
    tables = [
        format_recall(s.name, boxes, i, class_names) for s, i in zip(settings, ious, strict=True)
    ]
    write_result(*tables, *([proposal.to_config()] if args.fit else []))
    if args.out or args.show:
        figure = None
        if args.show:
            from matplotlib import pyplot as plt

            figure = plt.figure()
        figure = draw_anchor_recall(settings, boxes, ious, class_names, figure)
        if args.out:
            save_figure(figure, args.out)
        if args.show:
            plt.show()
