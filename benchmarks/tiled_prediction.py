"""Predict drawn slides of growing size: time, share of the network, memory, cells per second.

    python benchmarks/tiled_prediction.py CONFIG CHECKPOINT --sides 2000 5000 20000

A slide is a drawn block of tissue repeated over part of a white image, written tile by tile. Each
size runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

_BLOCK_PX = 1000
_TILE_PX = 512


def write_slide(path: Path, side_px: int, filled: float, cells_per_block: int) -> None:
    """Write a slide of side_px, the given part of it tissue, tile by tile."""
    from cellseg.datasets.synthetic import draw_cell_image

    block, _ = draw_cell_image(np.random.default_rng(0), _BLOCK_PX, _BLOCK_PX, cells_per_block)
    across = -(-side_px // _BLOCK_PX)
    order = np.random.default_rng(1).permutation(across**2)
    tissue = (order < filled * across**2).reshape(across, across)

    def tiles() -> Iterator[NDArray[np.uint8]]:
        for top in range(0, side_px, _TILE_PX):
            for left in range(0, side_px, _TILE_PX):
                tile = np.full((_TILE_PX, _TILE_PX, 3), 240, dtype=np.uint8)
                rows = np.arange(top, min(top + _TILE_PX, side_px))
                columns = np.arange(left, min(left + _TILE_PX, side_px))
                drawn = block[np.ix_(rows % _BLOCK_PX, columns % _BLOCK_PX)]
                shown = tissue[np.ix_(rows // _BLOCK_PX, columns // _BLOCK_PX)]
                tile[: len(rows), : len(columns)] = np.where(shown[..., None], drawn, 240)
                yield tile

    tifffile.imwrite(
        path,
        tiles(),
        shape=(side_px, side_px, 3),
        dtype=np.uint8,
        tile=(_TILE_PX, _TILE_PX),
        compression="zlib",
        compressionargs={"level": 1},
        photometric="rgb",
    )


def predict_one(args: argparse.Namespace) -> None:
    """Predict one slide and print its numbers as JSON."""
    from cellseg.inference import Predictor, TileOptions
    from cellseg.inference.image_list import InputImage
    from cellseg.inference.jobs import OutputOptions, PredictionJob

    tiling = TileOptions(whole=False, tile_px=args.tile, scale=1.0)
    predictor = Predictor(args.config, args.checkpoint, tiling=tiling)
    in_network = 0.0
    step = predictor.model.test_step

    def timed_step(data: dict) -> list:
        nonlocal in_network
        begin = time.perf_counter()
        result = step(data)
        in_network += time.perf_counter() - begin
        return result

    predictor.model.test_step = timed_step
    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "slide.tif"
        write_slide(slide, args.sides[0], args.filled, args.cells_per_block)
        options = OutputOptions(Path(folder) / "out", tuple(args.format))
        begin = time.perf_counter()
        (outcome,) = PredictionJob(predictor, [InputImage(slide, "slide")], options).run()
        wall = time.perf_counter() - begin
    numbers = {
        "side": args.sides[0],
        "tiles": outcome.tiles,
        "background": outcome.background_tiles,
        "cells": outcome.cells,
        "wall_s": wall,
        "network_s": in_network,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "error": outcome.error,
    }
    sys.stdout.write("\n" + json.dumps(numbers) + "\n")


def main() -> None:
    """Predict every size in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("checkpoint")
    parser.add_argument("--sides", type=int, nargs="+", default=[2000, 5000], help="in pixels")
    parser.add_argument("--filled", type=float, default=0.35, help="part of the slide with tissue")
    parser.add_argument("--cells-per-block", type=int, default=800, help="in 1000 x 1000 pixels")
    parser.add_argument("--tile", type=int, help="side of a tile in pixels")
    parser.add_argument("--format", nargs="+", default=["labels", "geojson"])
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        predict_one(args)
        return
    lines = [
        "| side, px | tiles (background) | cells | wall, s | beyond network | cells/s | peak, GB |",
        "|---|---|---|---|---|---|---|",
    ]
    same = ["--filled", args.filled, "--cells-per-block", args.cells_per_block]
    same += ["--format", *args.format, *(["--tile", args.tile] if args.tile else [])]
    for side in args.sides:
        flags = [args.config, args.checkpoint, "--one", "--sides", side, *same]
        command = [sys.executable, __file__, *map(str, flags)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        row = json.loads(output.strip().splitlines()[-1])
        if row["error"]:
            sys.exit(row["error"])
        beyond = 1 - row["network_s"] / row["wall_s"]
        lines.append(
            f"| {row['side']:,} | {row['tiles']:,} ({row['background']:,}) | {row['cells']:,} "
            f"| {row['wall_s']:.1f} | {beyond:.1%} | {row['cells'] / row['wall_s']:.0f} "
            f"| {row['peak_gb']:.2f} |"
        )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
