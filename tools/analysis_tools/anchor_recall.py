"""Show how well the anchors of configs can cover the cells of a data set, without training.

    python tools/analysis_tools/anchor_recall.py configs/cell/mask-rcnn_r101_small-anchor.py \
        configs/cell/mask-rcnn_r101_default-anchor.py --out anchor_recall.png
    python tools/analysis_tools/anchor_recall.py CONFIG --fit

The cells are those of the first config's data (or of --data), resized as each config's test
pipeline does.
"""

import argparse
from pathlib import Path

import numpy as np
from mmengine.config import DictAction

import cellseg  # noqa: F401  (registers the project's parts)
from cellseg.engine.run_config import run_tool
from cellseg.errors import CellsegError
from cellseg.evaluation.anchor_fit import fit_anchors
from cellseg.evaluation.anchor_recall import (
    CellBoxes,
    best_ious,
    collect_boxes,
    read_setting,
    summarise_groups,
)
from cellseg.evaluation.data_source import SPLITS, open_data, read_config
from cellseg.visualization.anchor_plot import draw_anchor_recall
from cellseg.visualization.curves import save_figure


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Show how well anchors can cover the cells.")
    parser.add_argument(
        "configs", nargs="+", metavar="config", help="config files, compared side by side"
    )
    parser.add_argument(
        "--data", help="folder of <id>/image.tif to use instead of the first config's data"
    )
    parser.add_argument(
        "--split", choices=SPLITS, default="train", help="whose data of the config (default: train)"
    )
    parser.add_argument("--out", help="draw the figure to this file (.png, .svg or .pdf)")
    parser.add_argument("--show", action="store_true", help="show the figure in a window")
    parser.add_argument(
        "--fit", action="store_true", help="propose base sizes and ratios for the cells"
    )
    parser.add_argument(
        "--num-ratios",
        type=int,
        default=8,
        help="how many ratios --fit proposes (default: %(default)s)",
    )
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, help="override settings of the configs"
    )
    args = parser.parse_args()
    if args.out and Path(args.out).suffix not in (".png", ".svg", ".pdf"):
        raise CellsegError(f"--out {args.out} must end in .png, .svg or .pdf.")
    if args.num_ratios < 1:
        raise CellsegError(f"--num-ratios must be at least 1, not {args.num_ratios}.")
    return args


def format_recall(name: str, boxes: CellBoxes, ious: np.ndarray, class_names: list[str]) -> str:
    """Lay the figures of one config out as a table."""
    lines = [f"{name}", f"  {'':<20}{'cells':>8}{'IoU 0.5':>10}{'IoU 0.7':>10}{'mean IoU':>10}"]
    for group in summarise_groups(boxes, ious, class_names).values():
        for label, row in group.items():
            values = (row.recall_50, row.recall_70, row.mean_iou)
            text = "".join(f"{'-' if np.isnan(value) else f'{value:.4f}':>10}" for value in values)
            lines.append(f"  {label:<20}{row.num_boxes:>8}{text}")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, draw."""
    args = parse_args()
    configs = [read_config(path, args.cfg_options) for path in args.configs]
    settings = [
        read_setting(cfg, Path(path).stem) for cfg, path in zip(configs, args.configs, strict=True)
    ]
    dataset = open_data(args.data or args.configs[0], args.split, args.cfg_options)
    class_names = list(dataset.metainfo["classes"])
    boxes = collect_boxes(dataset.get_data_info(index) for index in range(len(dataset)))
    if not len(boxes.labels):
        raise CellsegError(
            f"{args.data or args.configs[0]}: its {len(dataset)} images hold no cell to measure by."
        )
    if args.fit:
        proposal = fit_anchors(boxes, settings[0], args.num_ratios)
        settings.append(proposal.to_setting(settings[0]))
    ious = [best_ious(boxes, setting) for setting in settings]
    tables = [
        format_recall(s.name, boxes, i, class_names) for s, i in zip(settings, ious, strict=True)
    ]
    print(*tables, *([proposal.to_config()] if args.fit else []), sep="\n\n")
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


if __name__ == "__main__":
    run_tool(main)
