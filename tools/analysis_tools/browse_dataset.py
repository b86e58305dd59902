"""Look at the data as the network gets it, after augmentation, with the cells outlined.

    python tools/analysis_tools/browse_dataset.py CONFIG SAVE_DIR
    python tools/analysis_tools/browse_dataset.py CONFIG SAVE_DIR --count 40 --columns 4 --seed 1

Writes page_1.png, page_2.png, ...: cells outlined in the colours of their classes, with their ids
in the label files where there is room, and counts.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.config import DictAction
from mmengine.registry import init_default_scope

import cellseg  # noqa: F401  (registers the project's parts)
from cellseg.engine.run_config import run_tool
from cellseg.errors import CellDataError, CellsegError
from cellseg.evaluation.data_source import SPLITS, dataset_config, read_config
from cellseg.visualization.cell_visualizer import write_image
from cellseg.visualization.overlays import DEFAULT_PALETTE
from cellseg.visualization.sample_page import PageStyle, draw_sample, lay_out_page


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Look at the data as the network gets it.")
    parser.add_argument("config", help="config file")
    parser.add_argument("save_dir", help="folder for the pages")
    parser.add_argument(
        "--split", choices=SPLITS, default="train", help="whose data (default: train)"
    )
    parser.add_argument(
        "--count", type=int, default=12, help="samples to draw (default: %(default)s)"
    )
    parser.add_argument(
        "--columns", type=int, default=3, help="samples in a row (default: %(default)s)"
    )
    parser.add_argument("--rows", type=int, default=2, help="rows on a page (default: %(default)s)")
    parser.add_argument(
        "--tile",
        type=int,
        default=640,
        help="longer side of a sample in pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--ids",
        choices=("auto", "always", "never"),
        default="auto",
        help="write ids on cells (default: if readable)",
    )
    parser.add_argument(
        "--repeat", action="store_true", help="draw the first image --count times, to compare views"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the augmentation (default: %(default)s)"
    )
    parser.add_argument("--show", action="store_true", help="show each page in a window")
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, help="override settings of the config"
    )
    args = parser.parse_args()
    if min(args.count, args.columns, args.rows) < 1 or args.tile < 64:
        raise CellsegError(
            "--count, --columns and --rows must be at least 1, and --tile at least 64."
        )
    return args


def build_samples(args: argparse.Namespace):
    """Build the split's data set with its whole pipeline, wrappers such as mosaics included."""
    config = read_config(args.config, args.cfg_options)
    dataset_config(config, args.split)  # says so where there is none
    init_default_scope(config.get("default_scope", "mmdet"))
    try:
        return DATASETS.build(config[f"{args.split}_dataloader"]["dataset"])
    except (CellDataError, ValueError, TypeError, KeyError) as error:
        raise CellsegError(str(error)) from error


def main() -> None:
    """Draw, write and show."""
    args = parse_args()
    dataset = build_samples(args)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(args.seed)
    metainfo = dataset.metainfo
    palette = [tuple(colour) for colour in metainfo.get("palette") or DEFAULT_PALETTE]
    style = PageStyle(list(metainfo["classes"]), palette, args.tile, args.ids)
    count = args.count if args.repeat else min(args.count, len(dataset))
    tiles = [draw_sample(dataset[0 if args.repeat else index], style) for index in range(count)]
    per_page = args.columns * args.rows
    starts = range(0, count, per_page)
    for number, start in enumerate(starts, start=1):
        page = lay_out_page(tiles[start : start + per_page], args.columns)
        write_image(Path(args.save_dir) / f"page_{number}.png", page)
        if args.show:
            from matplotlib import pyplot as plt

            plt.figure(figsize=(12, 8)).add_axes((0, 0, 1, 1)).imshow(page)
            plt.show()
    print(f"Drew {count} of {len(dataset)} samples on {len(starts)} pages in {args.save_dir}")


if __name__ == "__main__":
    run_tool(main)
