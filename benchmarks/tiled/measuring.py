"""The measurements of tiled prediction, each made in a process of its own."""

import sys
import time
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from dense.measuring import read_memory_gb

from cellseg.images import open_image
from cellseg.inference import Cells, Predictor, TileOptions, image_work
from cellseg.inference.image_list import InputImage
from cellseg.inference.jobs import PredictionJob
from cellseg.inference.output_folder import OutputOptions

from .agreement import compare_predictions

SCORE_THR = 0.5


def watch(holder: Any, name: str, title: str, seconds: dict[str, float]) -> None:
    """Replace the function holder.name by one that adds its time to seconds[title]."""
    run = getattr(holder, name)
    seconds[title] = 0.0

    def timed(*args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return run(*args, **kwargs)
        finally:
            seconds[title] += time.perf_counter() - begin

    setattr(holder, name, timed)


def build_predictor(args: Namespace, whole: bool) -> Predictor:
    """Build the predictor and predict a small image, so that nothing is done for the first time."""
    tiling = TileOptions(whole=whole, tile_px=args.tile, overlap_px=args.overlap, scale=args.scale)
    predictor = Predictor(
        args.config,
        args.checkpoint,
        score_thr=SCORE_THR,
        tiling=tiling,
        cfg_options=args.cfg_options,
    )
    predictor(np.zeros((128, 128, 3), np.uint8))
    return predictor


def predict_slide(args: Namespace, slide: Path, folder: Path) -> dict[str, Any]:
    """Predict a slide and write its outputs, as tools/predict.py does; returns the numbers."""
    predictor = build_predictor(args, whole=False)
    before_gb = read_memory_gb("VmHWM")
    seconds: dict[str, float] = {}
    watch(predictor.model, "test_step", "network_s", seconds)
    watch(predictor, "merge", "merging_s", seconds)
    watch(image_work, "write_outputs", "writing_s", seconds)
    options = OutputOptions(folder / "out", tuple(args.format), score_thr=SCORE_THR)
    begin = time.perf_counter()
    (outcome,) = PredictionJob(predictor, [InputImage(slide, "slide")], options).run()
    wall_s = time.perf_counter() - begin
    if outcome.error:
        sys.exit(outcome.error)
    return {
        "tiles": outcome.tiles,
        "background": outcome.background_tiles,
        "cells": outcome.cells,
        "wall_s": wall_s,
        **seconds,
        "before_gb": before_gb,
        "peak_gb": read_memory_gb("VmHWM"),
    }


def predict_array(args: Namespace, slide: Path, how: str) -> tuple[Cells, dict[str, Any]]:
    """Predict a slide in memory: "whole", "ours" (tiled) or "sahi"; no outputs are written.

    Returns:
        The cells, and the numbers.
    """
    predictor = build_predictor(args, whole=how != "ours")
    with open_image(slide, predictor.image_format) as source:
        image = np.ascontiguousarray(source.read(0, 0, source.width, source.height))
    seconds: dict[str, float] = {}
    watch(predictor.model, "test_step", "network_s", seconds)
    begin = time.perf_counter()
    if how == "sahi":
        from .sahi_model import predict_sliced

        cells = predict_sliced(predictor, image, args.tile, args.overlap)
    else:
        cells = predictor(image, channel_order="bgr")
    wall_s = time.perf_counter() - begin
    peak_gb = read_memory_gb("VmHWM")
    return cells, {"cells": len(cells), "wall_s": wall_s, **seconds, "peak_gb": peak_gb}


def compare(args: Namespace, slide: Path, found: dict[str, Cells]) -> dict[str, Any]:
    """Compare what "ours" and "sahi" found in a slide with "whole"; see `compare_predictions`."""
    with open_image(slide) as source:
        tiles = build_predictor(args, whole=False).plan_tiles(source).tiles
    return {
        how: asdict(compare_predictions(found["whole"], found[how], tiles))
        for how in ("ours", "sahi")
    }
