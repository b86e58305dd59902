"""Draw samples as the network gets them, page by page."""

import argparse
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.registry import init_default_scope

from cellseg.cli.running import write_result
from cellseg.engine.configs import dataset_config, parse_cfg_options, read_config
from cellseg.errors import CellDataError, CellsegError
from cellseg.palette import choose_palette
from cellseg.visualization.cell_visualizer import write_image
from cellseg.visualization.sample_page import PageStyle, arrange_page, draw_sample


def build_samples(args: argparse.Namespace) -> Any:
    """Build the split's data set with its whole pipeline, wrappers such as mosaics included."""
    config = read_config(args.config, parse_cfg_options(args.cfg_options))
    dataset_config(config, args.split)  # says so where there is none
    init_default_scope(config.get("default_scope", "mmdet"))
    try:
        return DATASETS.build(config[f"{args.split}_dataloader"]["dataset"])
    except (CellDataError, ValueError, TypeError, KeyError) as error:
        raise CellsegError(str(error)) from error


def draw_pages(args: argparse.Namespace) -> str:
    """Draw and write the pages, and show them where that is asked for; what was done."""
    dataset = build_samples(args)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(args.seed)
    metainfo = dataset.metainfo
    palette = choose_palette(len(metainfo["classes"]), metainfo.get("palette"))
    style = PageStyle(list(metainfo["classes"]), palette, args.tile, args.ids)
    count = args.count if args.repeat else min(args.count, len(dataset))
    tiles = [draw_sample(dataset[0 if args.repeat else index], style) for index in range(count)]
    per_page = args.columns * args.rows
    starts = range(0, count, per_page)
    for number, start in enumerate(starts, start=1):
        page = arrange_page(tiles[start : start + per_page], args.columns)
        write_image(Path(args.save_dir) / f"page_{number}.png", page)
        if args.show:
            from matplotlib import pyplot as plt

            plt.figure(figsize=(12, 8)).add_axes((0, 0, 1, 1)).imshow(page)
            plt.show()
    return f"Drew {count} of {len(dataset)} samples on {len(starts)} pages in {args.save_dir}"


def run(args: argparse.Namespace) -> None:
    """Draw, write and show."""
    write_result(draw_pages(args))
