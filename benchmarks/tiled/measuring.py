"""The measurements of tiled prediction, each made in a process of its own."""

import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from timing import PartClock, read_memory_gb

from cellseg.images import open_image
from cellseg.inference import Cells, Predictor, TileOptions, image_work
from cellseg.inference.image_list import InputImage
from cellseg.inference.image_work import ImageOutcome
from cellseg.inference.jobs import PredictionJob
from cellseg.inference.output_folder import OutputOptions

from .agreement import compare_predictions

SCORE_THR = 0.5


def build_predictor(args: Namespace, whole: bool, scale: float | None = None) -> Predictor:
    """Build the predictor and predict a small image, so that nothing is done for the first time."""
    tiling = TileOptions(
        whole=whole, tile_px=args.tile, overlap_px=args.overlap, scale=scale or args.scale
    )
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
    clock = PartClock("cpu")
    clock.watch(predictor.model, "test_step", "network")
    clock.watch(predictor, "merge", "merging")
    clock.watch(image_work, "write_outputs", "writing")
    options = OutputOptions(folder / "out", tuple(args.format), score_thr=SCORE_THR)
    job = PredictionJob(predictor, [InputImage(slide, "slide")], options)
    outcomes: list[ImageOutcome] = []
    seconds = describe_seconds(clock.run(lambda: outcomes.extend(job.run())))
    (outcome,) = outcomes
    if outcome.error:
        sys.exit(outcome.error)
    return {
        "tiles": outcome.tiles,
        "background": outcome.background_tiles,
        "cells": outcome.cells,
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
    found: list[Cells] = []

    def predict() -> None:
        if how == "sahi":
            from .sahi_model import predict_sliced

            found.append(predict_sliced(predictor, image, args.tile, args.overlap))
        else:
            found.append(predictor(image, channel_order="bgr"))

    clock = PartClock("cpu")
    clock.watch(predictor.model, "test_step", "network")
    seconds = describe_seconds(clock.run(predict))
    peak_gb = read_memory_gb("VmHWM")
    return found[0], {"cells": len(found[0]), **seconds, "peak_gb": peak_gb}


def describe_seconds(parts_ms: dict[str, float]) -> dict[str, float]:
    """Write what PartClock measured in seconds, by the names of the raw numbers."""
    parts = {f"{name}_s": ms / 1000 for name, ms in parts_ms.items() if name != "everything else"}
    return {"wall_s": sum(parts_ms.values()) / 1000, **parts}


def compare(args: Namespace, slide: Path, found: dict[str, Cells]) -> dict[str, Any]:
    """Compare what "ours" and "sahi" found in a slide with "whole"; see `compare_predictions`."""
    with open_image(slide) as source:
        tiles = build_predictor(args, whole=False).plan_tiles(source).tiles
    return {
        how: asdict(compare_predictions(found["whole"], found[how], tiles))
        for how in ("ours", "sahi")
    }
