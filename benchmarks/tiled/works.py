"""One measurement of tiled prediction, made in a process of its own."""

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import DictAction

from cellseg.engine.process_group import set_thread_counts
from cellseg.images import open_image
from cellseg.inference import Cells, Predictor, TileOptions, jobs
from cellseg.inference.image_list import InputImage

from .agreement import compare_predictions

SCORE_THR = 0.5


class Stopwatch:
    """Adds up the time spent in some of an object's functions."""

    def __init__(self) -> None:
        """Start at zero."""
        self.seconds: dict[str, float] = {}

    def watch(self, holder: Any, name: str, title: str) -> None:
        """Count the time of holder.name under a title."""
        work = getattr(holder, name)
        self.seconds[title] = 0.0

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                self.seconds[title] += time.perf_counter() - begin

        setattr(holder, name, timed)


def build_predictor(args: Namespace, whole: bool) -> Predictor:
    """Build the predictor and send a small image through it, so that nothing is done first."""
    tiling = TileOptions(whole=whole, tile_px=args.tile, overlap_px=args.overlap, scale=args.scale)
    predictor = Predictor(
        args.config,
        args.checkpoint,
        score_thr=SCORE_THR,
        tiling=tiling,
        cfg_options=read_options(args.cfg_options),
    )
    predictor(np.zeros((128, 128, 3), np.uint8))
    return predictor


def read_options(texts: list[str] | None) -> dict[str, Any] | None:
    """Read KEY=VALUE as MMEngine's command lines do."""
    parser = ArgumentParser()
    parser.add_argument("--options", nargs="+", action=DictAction)
    return parser.parse_args(["--options", *texts]).options if texts else None


def predict_slide(args: Namespace, slide: Path, folder: Path) -> dict[str, Any]:
    """Predict a slide and write its outputs, as tools/predict.py does."""
    predictor = build_predictor(args, whole=False)
    before_gb = read_peak_gb()
    watch = Stopwatch()
    watch.watch(predictor.model, "test_step", "network_s")
    watch.watch(predictor, "merge", "merging_s")
    watch.watch(jobs, "write_outputs", "writing_s")
    options = jobs.OutputOptions(folder / "out", tuple(args.format), score_thr=SCORE_THR)
    begin = time.perf_counter()
    (outcome,) = jobs.PredictionJob(predictor, [InputImage(slide, "slide")], options).run()
    wall_s = time.perf_counter() - begin
    if outcome.error:
        sys.exit(outcome.error)
    return {
        "tiles": outcome.tiles,
        "background": outcome.background_tiles,
        "cells": outcome.cells,
        "wall_s": wall_s,
        **watch.seconds,
        "before_gb": before_gb,
        "peak_gb": read_peak_gb(),
    }


def predict_array(args: Namespace, slide: Path, how: str) -> tuple[Cells, dict[str, Any]]:
    """Predict a slide in memory: "whole", "ours" (tiled) or "sahi"; no outputs are written.

    Returns:
        The cells, and the numbers.
    """
    predictor = build_predictor(args, whole=how != "ours")
    with open_image(slide, predictor.image_format) as source:
        image = np.ascontiguousarray(source.read(0, 0, source.width, source.height))
    watch = Stopwatch()
    watch.watch(predictor.model, "test_step", "network_s")
    begin = time.perf_counter()
    if how == "sahi":
        from .sahi_model import predict_sliced

        cells = predict_sliced(predictor, image, args.tile, args.overlap)
    else:
        cells = predictor(image)
    wall_s = time.perf_counter() - begin
    return cells, {
        "cells": len(cells),
        "wall_s": wall_s,
        **watch.seconds,
        "peak_gb": read_peak_gb(),
    }


def save_cells(cells: Cells, path: Path) -> None:
    """Keep the cells for `compare_files`."""
    content = {
        "boxes": cells.boxes.tolist(),
        "scores": cells.scores.tolist(),
        "labels": cells.labels.tolist(),
        "rles": cells.rles,
        "height": cells.height,
        "width": cells.width,
        "class_names": cells.class_names,
    }
    path.write_text(json.dumps(content), "utf-8")


def compare_files(args: Namespace, slide: Path, whole: Path, other: Path) -> dict[str, Any]:
    """Compare two predictions of a slide; see `compare_predictions`."""
    one, two = (
        Cells(**{**content, "boxes": np.reshape(content["boxes"], (-1, 4))})
        for content in (json.loads(path.read_text("utf-8")) for path in (whole, other))
    )
    with open_image(slide) as source:
        tiles = build_predictor(args, whole=False).plan_tiles(source).tiles
    return asdict(compare_predictions(one, two, tiles))


def read_peak_gb() -> float:
    """Read this process's peak resident memory in 1e9 bytes; a parent's is not counted."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e9
    return 0.0


def run_here(args: Namespace, how: str, slide: Path, folder: Path) -> None:
    """Make one measurement and leave its numbers in folder/numbers.json."""
    set_thread_counts()
    if how == "slide":
        numbers = predict_slide(args, slide, folder)
    elif how == "compare":
        numbers = {
            name: compare_files(args, slide, folder / "whole.json", folder / f"{name}.json")
            for name in ("ours", "sahi")
            if (folder / f"{name}.json").exists()
        }
    else:
        cells, numbers = predict_array(args, slide, how)
        save_cells(cells, folder / f"{how}.json")
    (folder / "numbers.json").write_text(json.dumps(numbers), "utf-8")
